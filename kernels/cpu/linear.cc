// out[i] = x[i] * weight^T + bias, the same bits for a row whatever rows are with it and on however
// many threads.
//
//   x       [num_tokens, in_features]   f32
//   weight  panels of 32 columns        f32 or bf16; linear_kernel.h has the layout
//   bias    [out_features]              f32, or empty
//   out     [num_tokens, out_features]  f32
//
// Threads    share columns: each reads its part of the weights as one stretch of memory.
// Cost       few rows: reads the weights once, memory. Many: 2 * rows * in * out FLOPs.
// Errors     kUnimplemented for bf16 activations, kResourceExhausted without memory.
#include <algorithm>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/host_memory.h"

namespace longhand::kernels::cpu {
namespace {

class PanelWeight final : public PackedLinear {
 public:
  PanelWeight(std::unique_ptr<Buffer> panels, const TensorView& weight)
      : panels_(std::move(panels)),
        bf16_(weight.dtype() == DType::kBf16),
        out_features_(weight.dim(0)),
        in_features_(weight.dim(1)) {}

  int64_t out_features() const override { return out_features_; }
  int64_t in_features() const override { return in_features_; }
  size_t size_bytes() const override { return panels_->size_bytes(); }
  const char* panels() const { return static_cast<const char*>(panels_->data()); }
  bool bf16() const { return bf16_; }

 private:
  std::unique_ptr<Buffer> panels_;
  bool bf16_;
  int64_t out_features_, in_features_;
};

// Where column c of a panel's row is kept: bf16 columns lie in pairs 16 apart.
int64_t PanelIndex(bool bf16, int64_t c) { return bf16 ? c % 16 * 2 + c / 16 : c; }

// Fills one panel; what is past the last column stays zero.
template <typename W>
void PackPanel(const TensorView& weight, int64_t panel, W* panels) {
  const int64_t out_features = weight.dim(0), in_features = weight.dim(1);
  W* out = panels + panel * in_features * kPanelColumns;
  const int64_t columns = std::min(kPanelColumns, out_features - panel * kPanelColumns);
  for (int64_t c = 0; c < columns; ++c) {
    const W* from = weight.as<W>() + (panel * kPanelColumns + c) * in_features;
    W* to = out + PanelIndex(weight.dtype() == DType::kBf16, c);
    for (int64_t k = 0; k < in_features; ++k) to[k * kPanelColumns] = from[k];
  }
}

int64_t NumPanels(int64_t out_features) {
  return (out_features + kPanelColumns - 1) / kPanelColumns;
}

// Few rows: weights stream by once.
void StreamWeights(CpuContext& cpu, const LinearTask& task, const float* packed, int64_t bytes) {
  // Long stretches of memory, but enough of them that a thread that was interrupted does not keep
  // the others waiting.
  constexpr int64_t kBytesPerTask = int64_t{1} << 19;
  // Less is read before another thread has woken.
  constexpr int64_t kBytesAlone = int64_t{1} << 15;
  const int64_t num_panels = NumPanels(task.out_features);
  const int64_t threads = cpu.pool.num_threads();
  int64_t tasks = std::min(std::max(bytes / kBytesPerTask, threads), threads * 8);
  tasks = bytes < kBytesAlone ? 1 : std::min(tasks, num_panels);
  cpu.pool.Run(tasks, [&](int64_t i, int) {
    cpu.linear.stream(task, packed, num_panels * i / tasks, num_panels * (i + 1) / tasks);
  });
}

// Many rows: a few panels at a time.
void MultiplyPanels(CpuContext& cpu, const LinearTask& task, const float* packed) {
  const int64_t num_panels = NumPanels(task.out_features);
  const int64_t most = num_panels / (2 * cpu.pool.num_threads());
  const int64_t panels = std::clamp<int64_t>(most, 1, kTaskPanels);
  const int64_t tasks = (num_panels + panels - 1) / panels;
  cpu.pool.Run(tasks, [&](int64_t i, int thread) {
    cpu.linear.multiply(task, packed, num_panels * i / tasks, num_panels * (i + 1) / tasks,
                        cpu.thread_scratch[thread].floats());
  });
}

const float* PackX(CpuContext& cpu, const LinearTask& task) {
  if (task.num_rows == 1) return task.x;
  float* packed = cpu.shared_scratch.floats();
  const int64_t blocks = (task.num_rows + cpu.linear.block_rows - 1) / cpu.linear.block_rows;
  ForRows(cpu, blocks, task.num_rows * task.in_features,
          [&](int64_t begin, int64_t end, int) { cpu.linear.pack(task, begin, end, packed); });
  return packed;
}

}  // namespace

Result<std::unique_ptr<PackedLinear>> PackLinear(CpuContext& cpu, TensorView weight) {
  const int64_t num_panels = NumPanels(weight.dim(0));
  const int64_t elements = num_panels * kPanelColumns * weight.dim(1);
  LONGHAND_ASSIGN_OR_RETURN(
      auto panels, AllocateHost(static_cast<size_t>(elements) * DTypeSize(weight.dtype())));
  ForRows(cpu, num_panels, elements, [&](int64_t begin, int64_t end, int) {
    for (int64_t panel = begin; panel < end; ++panel) {
      if (weight.dtype() == DType::kBf16) {
        PackPanel(weight, panel, static_cast<Bf16*>(panels->data()));
      } else {
        PackPanel(weight, panel, static_cast<float*>(panels->data()));
      }
    }
  });
  return std::unique_ptr<PackedLinear>(std::make_unique<PanelWeight>(std::move(panels), weight));
}

Status Linear(CpuContext& cpu, const LinearArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.x));
  const auto* weight = dynamic_cast<const PanelWeight*>(args.weight);
  if (weight == nullptr) return InvalidArgument("weight was packed by another backend");
  LinearTask task;
  task.weight = weight->panels();
  task.bf16 = weight->bf16();
  task.in_features = weight->in_features();
  task.out_features = weight->out_features();
  task.bias = args.bias.empty() ? nullptr : args.bias.as<float>();
  const int64_t num_rows = args.x.dim(0);
  const int64_t parts = (num_rows + kMaxTaskRows - 1) / kMaxTaskRows;
  const int64_t packed_floats = std::min(num_rows, kMaxTaskRows) * task.in_features;
  LONGHAND_RETURN_IF_ERROR(
      cpu.shared_scratch.Grow(static_cast<size_t>(packed_floats) * sizeof(float)));
  LONGHAND_RETURN_IF_ERROR(cpu.GrowThreadScratch(kLinearScratchFloats));
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = num_rows * part / parts;
    task.num_rows = num_rows * (part + 1) / parts - begin;
    task.x = args.x.as<float>() + begin * task.in_features;
    task.out = args.out.as<float>() + begin * task.out_features;
    const float* packed = PackX(cpu, task);
    if (task.num_rows <= kMaxStreamRows) {
      StreamWeights(cpu, task, packed, static_cast<int64_t>(weight->size_bytes()));
    } else {
      MultiplyPanels(cpu, task, packed);
    }
  }
  return OkStatus();
}

}  // namespace longhand::kernels::cpu
