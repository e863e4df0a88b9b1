// out[i] = x[i] * weight^T + bias, the same bits for a row whatever rows are with it and on however
// many threads.
//
//   x       [num_tokens, in_features]   f32
//   weight  panels of 32 columns        f32, bf16 or codes; linear_kernel.h, int8_kernel.h have the
//                                       layouts
//   bias    [out_features]              f32, or empty
//   out     [num_tokens, out_features]  f32
//
// Of gates and ups the sums go to memory of the context's own, and SwiGlu takes them from there.
//
// Threads    share columns: each reads its part of the weights as one stretch of memory.
// Cost       few rows: reads the weights once, memory. Many: 2 * rows * in * out FLOPs.
// Errors     kUnimplemented for bf16 activations, kResourceExhausted without memory.
#include <algorithm>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/int8_kernels.h"
#include "kernels/cpu/panel_weight.h"

namespace longhand::kernels::cpu {
namespace {

// Few rows: weights stream by once. stream(first panel, end) is called on any thread.
template <typename Stream>
void StreamWeights(CpuContext& cpu, const LinearTask& task, int64_t bytes, const Stream& stream) {
  // Long stretches of memory, but enough of them that a thread that was interrupted does not keep
  // the others waiting.
  constexpr int64_t kBytesPerTask = int64_t{1} << 19;
  // Less is read before another thread has woken.
  constexpr int64_t kBytesAlone = int64_t{1} << 15;
  const int64_t num_panels = NumPanels(task.out_features);
  const int64_t threads = cpu.pool.num_threads();
  int64_t tasks = std::min(std::max(bytes / kBytesPerTask, threads), threads * 8);
  tasks = bytes < kBytesAlone ? 1 : std::min(tasks, num_panels);
  cpu.pool.Run(
      tasks, [&](int64_t i, int) { stream(num_panels * i / tasks, num_panels * (i + 1) / tasks); });
}

// Many rows: a few panels at a time. multiply(first panel, end, scratch).
template <typename Multiply>
void MultiplyPanels(CpuContext& cpu, const LinearTask& task, const Multiply& multiply) {
  const int64_t num_panels = NumPanels(task.out_features);
  const int64_t most = num_panels / (2 * cpu.pool.num_threads());
  const int64_t panels = std::clamp<int64_t>(most, 1, kTaskPanels);
  const int64_t tasks = (num_panels + panels - 1) / panels;
  cpu.pool.Run(tasks, [&](int64_t i, int thread) {
    multiply(num_panels * i / tasks, num_panels * (i + 1) / tasks,
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

void MultiplyFloats(CpuContext& cpu, const LinearTask& task, int64_t weight_bytes) {
  const float* packed = PackX(cpu, task);
  if (task.num_rows <= kMaxStreamRows) {
    return StreamWeights(cpu, task, weight_bytes, [&](int64_t begin, int64_t end) {
      cpu.linear.stream(task, packed, begin, end);
    });
  }
  MultiplyPanels(cpu, task, [&](int64_t begin, int64_t end, float* scratch) {
    cpu.linear.multiply(task, packed, begin, end, scratch);
  });
}

void MultiplyInt8(CpuContext& cpu, const LinearTask& task, int64_t weight_bytes) {
  char* packed = reinterpret_cast<char*>(cpu.shared_scratch.floats());
  const int64_t block_rows = cpu.int8.block_rows;
  const int64_t blocks = (task.num_rows + block_rows - 1) / block_rows;
  ForRows(cpu, blocks, task.num_rows * task.in_features,
          [&](int64_t begin, int64_t end, int) { cpu.int8.pack(task, begin, end, packed); });
  if (blocks <= 1) {
    return StreamWeights(cpu, task, weight_bytes, [&](int64_t begin, int64_t end) {
      cpu.int8.multiply(task, packed, begin, end, nullptr);
    });
  }
  MultiplyPanels(cpu, task, [&](int64_t begin, int64_t end, float* scratch) {
    cpu.int8.multiply(task, packed, begin, end, scratch);
  });
}

// Of x, as it is packed.
int64_t RowBytesOf(const LinearTask& task) {
  return task.format == PanelFormat::kInt8 ? NumInt8Groups(task.in_features) * kInt8RowGroupBytes
                                           : task.in_features * int64_t{sizeof(float)};
}

}  // namespace

Status Linear(CpuContext& cpu, const LinearArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.x));
  const auto* weight = dynamic_cast<const PanelWeight*>(args.weight);
  if (weight == nullptr) return InvalidArgument("weight was packed by another backend");
  LinearTask task = weight->MakeTask();
  task.bias = args.bias.empty() ? nullptr : args.bias.as<float>();
  const int64_t num_rows = args.x.dim(0);
  const int64_t parts = (num_rows + kMaxTaskRows - 1) / kMaxTaskRows;
  const int64_t packed_bytes = std::min(num_rows, kMaxTaskRows) * RowBytesOf(task);
  LONGHAND_RETURN_IF_ERROR(cpu.shared_scratch.Grow(static_cast<size_t>(packed_bytes)));
  LONGHAND_RETURN_IF_ERROR(cpu.GrowThreadScratch(kLinearScratchFloats));
  const bool is_gate_up = args.out.dim(1) != weight->out_features();
  if (is_gate_up) {
    const int64_t sums = std::min(num_rows, kMaxTaskRows) * task.out_features;
    LONGHAND_RETURN_IF_ERROR(cpu.gate_up.Grow(static_cast<size_t>(sums) * sizeof(float)));
  }
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = num_rows * part / parts;
    task.num_rows = num_rows * (part + 1) / parts - begin;
    task.x = args.x.as<float>() + begin * task.in_features;
    task.out = is_gate_up ? cpu.gate_up.floats() : args.out.as<float>() + begin * task.out_features;
    if (!args.x_scale.empty()) task.x_scale = args.x_scale.as<float>() + begin;
    const auto weight_bytes = static_cast<int64_t>(weight->size_bytes());
    if (task.format == PanelFormat::kInt8) {
      MultiplyInt8(cpu, task, weight_bytes);
    } else {
      MultiplyFloats(cpu, task, weight_bytes);
    }
    if (!is_gate_up) continue;
    LONGHAND_RETURN_IF_ERROR(SwiGlu(
        cpu, {.gate_up = TensorView(task.out, DType::kF32, {task.num_rows, task.out_features}),
              .out = args.out.Slice(begin, task.num_rows)}));
  }
  return OkStatus();
}

}  // namespace longhand::kernels::cpu
