// kernel_bench: the CUDA kernels at the shapes of 7B and 72B, beside what the device can read.
//
//   kernel_bench [--group roof|decode|linear|prefill|vision|small|sample] [--dry-run]
//
// One JSON object a line: the device, the roofs, then a case each with the median of its times on
// the device, L2 cold, data random. bf16 throughout. --dry-run runs every case once at a small
// size on the emulation, without times: it shows that the arguments are right.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "bench/device_timer.h"
#include "kernels/ops.h"

namespace longhand::bench {
namespace {

using kernels::Ops;

constexpr DType kBf16 = DType::kBf16, kF32 = DType::kF32, kI32 = DType::kI32;
constexpr int64_t kHeadDim = 128;

using Enqueue = std::function<Status()>;

// Runs each case once; nothing is timed, and values are what the fill of the host gives.
class DryTimer final : public DeviceTimer {
 public:
  std::string device() const override { return "emulation, not timed"; }
  Result<Times> Measure(const Enqueue& enqueue) override {
    LONGHAND_RETURN_IF_ERROR(enqueue());
    return Times{};
  }
  Status Fill(const TensorView&, float, uint64_t) override { return OkStatus(); }
  Result<Times> MeasureRead(int64_t) override { return Times{}; }
};

// The tensors of one case, freed with it.
class Tensors {
 public:
  Tensors(Ops& ops, DeviceTimer& timer) : ops_(ops), timer_(timer) {}

  Result<TensorView> Zeros(DType dtype, std::initializer_list<int64_t> shape) {
    int64_t bytes = static_cast<int64_t>(DTypeSize(dtype));
    for (const int64_t dim : shape) bytes *= dim;
    LONGHAND_ASSIGN_OR_RETURN(auto buffer, ops_.Allocate(static_cast<size_t>(bytes)));
    buffers_.push_back(std::move(buffer));
    return TensorView(buffers_.back()->data(), dtype, shape);
  }
  Result<TensorView> Random(DType dtype,
                            std::initializer_list<int64_t> shape,
                            float deviation = 1) {
    LONGHAND_ASSIGN_OR_RETURN(const TensorView view, Zeros(dtype, shape));
    LONGHAND_RETURN_IF_ERROR(timer_.Fill(view, deviation, buffers_.size()));
    return view;
  }
  template <typename T>
  Result<TensorView> Of(const std::vector<T>& values, std::initializer_list<int64_t> shape) {
    LONGHAND_ASSIGN_OR_RETURN(const TensorView view, Zeros(DTypeOf<T>::value, shape));
    LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(view.data(), values.data(), view.num_bytes()));
    LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
    return view;
  }

 private:
  Ops& ops_;
  DeviceTimer& timer_;
  std::vector<std::unique_ptr<kernels::Buffer>> buffers_;
};

// What a case cannot avoid, and the numbers by which a peer makes the same one.
struct Work {
  std::string op, name;
  double bytes = 0, flops = 0;
  std::string shape;  // members of a JSON object
};

class Bench {
 public:
  Bench(Ops& ops, DeviceTimer& timer, bool dry) : ops_(ops), timer_(timer), dry_(dry) {}

  void Roofs() {
    std::printf("{\"op\": \"device\", \"case\": \"%s\", \"status\": \"pass\"}\n",
                timer_.device().c_str());
    for (const int64_t mb : {1024, 256, 128, 64, 32, 16}) {
      const int64_t bytes = mb << 20;
      const Result<Times> times = timer_.MeasureRead(bytes);
      Print({.op = "roof",
             .name = "read " + std::to_string(mb) + " MiB",
             .bytes = static_cast<double>(bytes)},
            times);
    }
  }

  void Linear() {
    struct Matrix {
      const char* name;
      int64_t in, out;
    };
    for (const Matrix& matrix : {Matrix{"7B qkv", 3584, 4608},
                                 {"7B o", 3584, 3584},
                                 {"7B gate-up", 3584, 37888},
                                 {"7B down", 18944, 3584},
                                 {"7B lm_head", 3584, 152064},
                                 {"72B TP8 qkv", 8192, 1280},
                                 {"72B TP8 o", 1024, 8192},
                                 {"72B TP8 gate-up", 8192, 7392},
                                 {"72B TP8 down", 3696, 8192},
                                 {"72B TP8 lm_head", 8192, 19008}}) {
      const int64_t in = Small(matrix.in, 64), out = Small(matrix.out, 48);
      const auto weight = PackRandom(out, in);
      for (const int64_t rows : {1, 2, 4, 8, 16, 32, 64, 256, 2048}) {
        if (rows > 64 && (matrix.out > 100000 || dry_)) continue;
        const auto n = static_cast<double>(rows);
        Work work{.op = "Linear",
                  .name = std::string(matrix.name) + ", " + std::to_string(rows) + " x " +
                          std::to_string(in) + " x " + std::to_string(out),
                  .bytes = 2.0 * static_cast<double>(in * out) +
                           2 * n * static_cast<double>(in + out),
                  .flops = 2 * n * static_cast<double>(in * out),
                  .shape = Members({{"rows", rows}, {"in", in}, {"out", out}})};
        Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
          if (!weight.ok()) return weight.status();
          kernels::LinearArgs args;
          args.weight = weight->get();
          LONGHAND_ASSIGN_OR_RETURN(args.x, tensors.Random(kBf16, {rows, in}));
          LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {rows, out}));
          return Enqueue([this, args] { return ops_.Linear(args); });
        });
      }
    }
  }

  void Decode() {
    struct Batch {
      int64_t seqs, context;
    };
    const auto grid = [&](int64_t heads,
                          int64_t kv_heads,
                          int64_t block_size,
                          const std::vector<Batch>& batches) {
      for (const Batch& batch : batches) {
        Attention("decode", heads, kv_heads, block_size, Small(batch.seqs, 2), 1,
                  Small(batch.context, 300));
      }
    };
    constexpr int64_t k = 1024;
    grid(64, 8, 16, {{1, k}, {1, 8 * k}, {1, 32 * k}, {1, 128 * k}, {4, k}, {4, 4 * k}, {16, k},
                     {16, 4 * k}, {16, 8 * k}, {64, k}, {64, 4 * k}, {64, 8 * k}, {256, k}});
    grid(64, 8, 32, {{1, 8 * k}, {16, 4 * k}, {64, 4 * k}});
    grid(28, 4, 16, {{1, k}, {1, 8 * k}, {1, 32 * k}, {1, 128 * k}, {4, 4 * k}, {16, k},
                     {16, 8 * k}, {64, k}, {64, 8 * k}, {256, 4 * k}});
    grid(8, 1, 16, {{1, 8 * k}, {1, 128 * k}, {16, 8 * k}, {64, k}, {64, 8 * k}, {256, k},
                    {256, 8 * k}});
  }

  void Prefill() {
    constexpr int64_t k = 1024;
    struct Chunk {
      int64_t heads, kv_heads, seqs, query, context;
    };
    for (const Chunk& chunk : {Chunk{28, 4, 1, 2 * k, 2 * k},
                               {28, 4, 1, 4 * k, 4 * k},
                               {28, 4, 1, 8 * k, 8 * k},
                               {28, 4, 1, 2 * k, 32 * k},
                               {64, 8, 1, 4 * k, 4 * k},
                               {64, 8, 1, 8 * k, 8 * k},
                               {8, 1, 1, 8 * k, 8 * k},
                               {8, 1, 1, 2 * k, 32 * k}}) {
      Attention("prefill", chunk.heads, chunk.kv_heads, 16, chunk.seqs, Small(chunk.query, 70),
                Small(chunk.context, 300));
    }
  }

  void Vision() {
    struct Tower {
      int64_t patches, segment;
    };
    for (const Tower& tower :
         {Tower{5184, 64}, {5184, 5184}, {4 * 5184, 5184}, {16 * 5184, 64}}) {
      const int64_t patches = Small(tower.patches, 128), segment = Small(tower.segment, 64);
      const double pairs = static_cast<double>(patches) * static_cast<double>(segment);
      Work work{.op = "VisionAttention",
                .name = std::to_string(patches) + " patches in segments of " +
                        std::to_string(segment) + ", 16 heads of 80",
                .bytes = static_cast<double>(patches) * 16 * 80 * 4 * 2,
                .flops = 4 * pairs * 16 * 80,
                .shape = Members({{"patches", patches}, {"segment", segment}})};
      Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
        std::vector<int32_t> starts;
        for (int64_t start = 0; start <= patches; start += segment) {
          starts.push_back(static_cast<int32_t>(start));
        }
        kernels::VisionAttentionArgs args;
        LONGHAND_ASSIGN_OR_RETURN(args.qkv, tensors.Random(kBf16, {patches, 3, 16, 80}));
        LONGHAND_ASSIGN_OR_RETURN(
            args.cu_seqlens, tensors.Of(starts, {static_cast<int64_t>(starts.size())}));
        args.scale = 1.0f / std::sqrt(80.0f);
        LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {patches, 16, 80}));
        return Enqueue([this, args] { return ops_.VisionAttention(args); });
      });
    }
  }

  void SmallOps() {
    for (const int64_t rows : {1, 64, 2048}) {
      RmsNorm(Small(rows, 2), 3584);
      SwiGlu(Small(rows, 2), 18944);
      Rope(Small(rows, 2), 28, 4);
    }
  }

  void Sample() {
    SamplingParams greedy, nucleus, top_k;
    greedy.temperature = 0;
    nucleus.temperature = 0.6f;
    nucleus.top_p = 0.95f;
    top_k = nucleus;
    top_k.top_k = 40;
    for (const int64_t rows : {1, 16, 64}) {
      SampleRows("greedy", greedy, Small(rows, 2), 1.0f);
      SampleRows("temperature 0.6, top_p 0.95, peaked", nucleus, Small(rows, 2), 4.0f);
      SampleRows("temperature 0.6, top_p 0.95, flat", nucleus, Small(rows, 2), 1.0f);
      SampleRows("temperature 0.6, top_k 40, top_p 0.95", top_k, Small(rows, 2), 1.0f);
    }
  }

  bool failed() const { return failed_; }

 private:
  using Make = std::function<Result<Enqueue>(Tensors&)>;

  int64_t Small(int64_t real, int64_t small) const { return dry_ ? std::min(real, small) : real; }

  static std::string Members(const std::vector<std::pair<const char*, int64_t>>& numbers) {
    std::ostringstream out;
    for (const auto& [name, value] : numbers) {
      out << (out.tellp() > 0 ? ", " : "") << '"' << name << "\": " << value;
    }
    return out.str();
  }

  // 16 MB of random numbers again and again: packing takes host memory, and a gigabyte of numbers
  // takes a minute to draw.
  Result<std::unique_ptr<kernels::PackedLinear>> PackRandom(int64_t out, int64_t in) {
    if (pattern_.empty()) {
      std::mt19937_64 draw(17);
      pattern_.resize(dry_ ? 1 << 12 : (8 << 20) - 3);  // no multiple of a row
      for (uint16_t& bits : pattern_) {
        // Signs and magnitudes of 0.008 to 0.06.
        const uint64_t random = draw();
        bits = static_cast<uint16_t>((random & 0x807f) | (0x3c00 + (random >> 32 & 0x180)));
      }
    }
    std::vector<uint16_t> weight(static_cast<size_t>(out * in));
    for (size_t i = 0; i < weight.size(); i += pattern_.size()) {
      std::memcpy(&weight[i], pattern_.data(), 2 * std::min(pattern_.size(), weight.size() - i));
    }
    return ops_.PackLinear(TensorView(weight.data(), kBf16, {out, in}));
  }

  void Attention(const char* what,
                 int64_t heads,
                 int64_t kv_heads,
                 int64_t block_size,
                 int64_t seqs,
                 int64_t query_len,
                 int64_t context_len) {
    const auto n = static_cast<double>(seqs);
    const auto query = static_cast<double>(query_len), context = static_cast<double>(context_len);
    const double pairs = n * (query * context - query * (query - 1) / 2);
    std::ostringstream name;
    name << what << " " << seqs << " x " << query_len << ", context " << context_len << ", "
         << heads << "/" << kv_heads << " heads, block " << block_size;
    Work work{.op = "PagedAttention",
              .name = name.str(),
              .bytes = n * context * static_cast<double>(kv_heads) * kHeadDim * 4,
              .flops = 4 * pairs * kHeadDim * static_cast<double>(heads),
              .shape = Members({{"seqs", seqs},
                                {"query", query_len},
                                {"context", context_len},
                                {"heads", heads},
                                {"kv_heads", kv_heads},
                                {"block_size", block_size}})};
    Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
      const int64_t blocks = (context_len + block_size - 1) / block_size;
      std::vector<int32_t> table(static_cast<size_t>(seqs * blocks));
      std::iota(table.begin(), table.end(), 0);
      std::shuffle(table.begin(), table.end(), std::mt19937_64(5));
      std::vector<int32_t> starts;
      for (int64_t s = 0; s <= seqs; ++s) starts.push_back(static_cast<int32_t>(s * query_len));
      const std::vector<int32_t> lens(static_cast<size_t>(seqs), static_cast<int32_t>(context_len));
      kernels::PagedAttentionArgs args;
      const int64_t tokens = seqs * query_len;
      LONGHAND_ASSIGN_OR_RETURN(args.query, tensors.Random(kBf16, {tokens, heads, kHeadDim}));
      LONGHAND_ASSIGN_OR_RETURN(
          args.kv_cache, tensors.Random(kBf16, {2, seqs * blocks, block_size, kv_heads, kHeadDim}));
      LONGHAND_ASSIGN_OR_RETURN(args.block_table, tensors.Of(table, {seqs, blocks}));
      LONGHAND_ASSIGN_OR_RETURN(args.cu_query_lens, tensors.Of(starts, {seqs + 1}));
      LONGHAND_ASSIGN_OR_RETURN(args.context_len, tensors.Of(lens, {seqs}));
      args.scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
      LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {tokens, heads, kHeadDim}));
      return Enqueue([this, args] { return ops_.PagedAttention(args); });
    });
  }

  void RmsNorm(int64_t rows, int64_t width) {
    Work work{.op = "RmsNorm",
              .name = std::to_string(rows) + " x " + std::to_string(width) + ", residual",
              .bytes = 8.0 * static_cast<double>(rows * width),
              .shape = Members({{"rows", rows}, {"width", width}})};
    Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
      kernels::RmsNormArgs args;
      LONGHAND_ASSIGN_OR_RETURN(args.x, tensors.Random(kBf16, {rows, width}));
      LONGHAND_ASSIGN_OR_RETURN(args.residual, tensors.Random(kBf16, {rows, width}));
      LONGHAND_ASSIGN_OR_RETURN(args.weight, tensors.Random(kF32, {width}));
      LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {rows, width}));
      return Enqueue([this, args] { return ops_.RmsNorm(args); });
    });
  }

  void SwiGlu(int64_t rows, int64_t width) {
    Work work{.op = "SwiGlu",
              .name = std::to_string(rows) + " x " + std::to_string(width),
              .bytes = 6.0 * static_cast<double>(rows * width),
              .shape = Members({{"rows", rows}, {"width", width}})};
    Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
      kernels::SwiGluArgs args;
      LONGHAND_ASSIGN_OR_RETURN(args.gate_up, tensors.Random(kBf16, {rows, 2 * width}));
      LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {rows, width}));
      return Enqueue([this, args] { return ops_.SwiGlu(args); });
    });
  }

  void Rope(int64_t rows, int64_t heads, int64_t kv_heads) {
    const int64_t width = (heads + 2 * kv_heads) * kHeadDim;
    Work work{.op = "QkvRopeWrite",
              .name = std::to_string(rows) + " tokens, " + std::to_string(heads) + "/" +
                      std::to_string(kv_heads) + " heads",
              .bytes = 4.0 * static_cast<double>(rows * width),
              .shape = Members({{"rows", rows}, {"heads", heads}, {"kv_heads", kv_heads}})};
    Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
      const int64_t blocks = (rows + 15) / 16;
      std::vector<int64_t> slots(static_cast<size_t>(rows));
      std::iota(slots.begin(), slots.end(), 0);
      kernels::QkvRopeWriteArgs args;
      LONGHAND_ASSIGN_OR_RETURN(args.qkv, tensors.Random(kBf16, {rows, width}));
      LONGHAND_ASSIGN_OR_RETURN(args.bias, tensors.Random(kF32, {width}));
      LONGHAND_ASSIGN_OR_RETURN(args.cos, tensors.Random(kF32, {rows, kHeadDim / 2}));
      LONGHAND_ASSIGN_OR_RETURN(args.sin, tensors.Random(kF32, {rows, kHeadDim / 2}));
      LONGHAND_ASSIGN_OR_RETURN(args.slot_mapping, tensors.Of(slots, {rows}));
      LONGHAND_ASSIGN_OR_RETURN(args.query, tensors.Zeros(kBf16, {rows, heads, kHeadDim}));
      LONGHAND_ASSIGN_OR_RETURN(args.kv_cache,
                                tensors.Zeros(kBf16, {2, blocks, 16, kv_heads, kHeadDim}));
      return Enqueue([this, args] { return ops_.QkvRopeWrite(args); });
    });
  }

  void SampleRows(const char* what,
                  const SamplingParams& params,
                  int64_t num_rows,
                  float deviation) {
    const int64_t vocab_size = Small(152064, 500);
    std::vector<kernels::SampleRow> rows(static_cast<size_t>(num_rows));
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].params = &params;
      rows[i].key = {.seed = 12345, .position = static_cast<uint32_t>(i)};
    }
    Work work{.op = "Sample",
              .name = std::to_string(num_rows) + " x " + std::to_string(vocab_size) + ", " + what,
              .bytes = 4.0 * static_cast<double>(num_rows * vocab_size)};
    Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
      kernels::SampleArgs args;
      LONGHAND_ASSIGN_OR_RETURN(args.logits,
                                tensors.Random(kF32, {num_rows, vocab_size}, deviation));
      LONGHAND_ASSIGN_OR_RETURN(args.token_ids, tensors.Zeros(kI32, {num_rows}));
      // As in a step: rows are staged beside the device's work. Without stages (a CPU) they go along.
      const Status staged = ops_.StageSampleRows(rows, vocab_size);
      if (!staged.ok() && staged.code() != StatusCode::kUnimplemented) return staged;
      if (!staged.ok()) args.rows = &rows;
      return Enqueue([this, args] { return ops_.Sample(args); });
    });
  }

  void Time(const Work& work, const Make& make) {
    Tensors tensors(ops_, timer_);
    const auto enqueue = make(tensors);
    Result<Times> times = enqueue.ok() ? timer_.Measure(*enqueue) : Result<Times>(enqueue.status());
    const Status finished = ops_.Synchronize();
    if (times.ok() && !finished.ok()) times = finished;
    Print(work, times);
  }

  void Print(const Work& work, const Result<Times>& times) {
    std::printf("{\"op\": \"%s\", \"case\": \"%s\", ", work.op.c_str(), work.name.c_str());
    if (times.ok()) {
      std::printf("\"status\": \"pass\", \"ns\": %.0f, \"best_ns\": %.0f, \"samples\": %d, ",
                  times->median_ns, times->best_ns, times->samples);
    } else {
      const bool lacking = times.status().code() == StatusCode::kUnimplemented;
      failed_ = failed_ || !lacking;
      std::string message(times.status().message());
      std::replace(message.begin(), message.end(), '"', '\'');
      std::printf("\"status\": \"%s\", \"message\": \"%s\", ", lacking ? "unsupported" : "fail",
                  message.c_str());
    }
    std::printf("\"bytes\": %.0f, \"flops\": %.0f, \"shape\": {%s}}\n", work.bytes, work.flops,
                work.shape.c_str());
    std::fflush(stdout);
  }

  Ops& ops_;
  DeviceTimer& timer_;
  bool dry_;
  bool failed_ = false;
  std::vector<uint16_t> pattern_;
};

int Run(const std::string& group, bool dry) {
  auto ops = dry ? kernels::CreateEmulatedOps() : kernels::CreateCudaOps(/*device_idx=*/0);
  if (!ops.ok()) {
    std::fprintf(stderr, "kernel_bench: %s\n", std::string(ops.status().message()).c_str());
    return ops.status().code() == StatusCode::kUnavailable ? 3 : 1;
  }
  auto timer = dry ? Result<std::unique_ptr<DeviceTimer>>(std::make_unique<DryTimer>())
                   : CreateCudaTimer(**ops);
  if (!timer.ok()) {
    std::fprintf(stderr, "kernel_bench: %s\n", std::string(timer.status().message()).c_str());
    return 1;
  }
  Bench bench(**ops, **timer, dry);
  const std::pair<const char*, void (Bench::*)()> groups[] = {
      {"roof", &Bench::Roofs},      {"decode", &Bench::Decode}, {"linear", &Bench::Linear},
      {"prefill", &Bench::Prefill}, {"vision", &Bench::Vision}, {"small", &Bench::SmallOps},
      {"sample", &Bench::Sample}};
  for (const auto& [name, method] : groups) {
    if (group.empty() || group == name) (bench.*method)();
  }
  return bench.failed() ? 1 : 0;
}

}  // namespace
}  // namespace longhand::bench

// Exit 0: all ran; 1: something failed; 2: usage; 3: there is no device.
int main(int argc, char** argv) {
  std::string group;
  bool dry = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--dry-run") {
      dry = true;
    } else if (flag == "--group" && i + 1 < argc) {
      group = argv[++i];
    } else {
      std::fprintf(stderr,
                   "usage: kernel_bench [--group roof|decode|linear|prefill|vision|small|sample] "
                   "[--dry-run]\n");
      return 2;
    }
  }
  return longhand::bench::Run(group, dry);
}
