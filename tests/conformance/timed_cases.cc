// Shapes of real models, timed with --bench: the decoders of 0.5B, 1.5B and 7B, the vision tower, a
// vocabulary of 151,936. Each is checked first, on a part that the reference can compute in a
// moment.
#include <cmath>
#include <memory>
#include <sstream>

#include "tests/conformance/cases.h"
#include "tests/conformance/paged_batch.h"
#include "tests/conformance/sampling_rows.h"

namespace longhand::conformance {
namespace {

constexpr DType kF32 = DType::kF32, kBf16 = DType::kBf16;

struct LinearShape {
  int64_t rows, in, out;
  DType weight;
};

// With `part`, the first and last of the rows only.
Result<kernels::LinearArgs> MakeLinear(Device& device, const LinearShape& shape, bool part) {
  Rng rng(/*seed=*/81);
  const DType dtype = device.ops().ActivationDType(kF32);
  HostTensor x = rng.Normal({shape.rows, shape.in}, dtype);
  const HostTensor weight = rng.Normal({shape.out, shape.in}, shape.weight, 0.02);
  if (part && shape.rows > 1) {
    HostTensor two = x.Rows(0, 2);
    for (int64_t i = 0; i < shape.in; ++i) {
      two.Set(shape.in + i, x.At((shape.rows - 1) * shape.in + i));
    }
    x = two;
  }
  kernels::LinearArgs args;
  LONGHAND_ASSIGN_OR_RETURN(args.weight, device.Pack(weight));
  args.x = device.In(x);
  args.out = device.Out(dtype, {x.shape[0], shape.out});
  return args;
}

Result<Outputs> FirstAndLast(Device& device, const LinearShape& shape, bool part) {
  LONGHAND_ASSIGN_OR_RETURN(const kernels::LinearArgs args, MakeLinear(device, shape, part));
  LONGHAND_RETURN_IF_ERROR(device.ops().Linear(args));
  const HostTensor out = device.Read(args.out);
  const int64_t rows = out.shape[0];
  return Outputs{out.Rows(0, 1), out.Rows(rows - 1, 1)};
}

void AddLinear(const LinearShape& shape, std::vector<Case>& cases) {
  std::ostringstream name;
  name << "time " << shape.rows << "x" << shape.in << "x" << shape.out << " weight "
       << DTypeName(shape.weight);
  const double weight_bytes =
      static_cast<double>(shape.in * shape.out) * static_cast<double>(DTypeSize(shape.weight));
  cases.push_back(
      {.op = "Linear",
       .name = name.str(),
       .body = [=](Device& d) { return FirstAndLast(d, shape, false); },
       .tolerance = {1e-5, Tolerance::Metric::kOfLargest, "f32 sums of thousands of terms"},
       .reference = [=](Device& d) { return FirstAndLast(d, shape, true); },
       .timed = [=](Device& d) -> Result<Timed> {
         LONGHAND_ASSIGN_OR_RETURN(const kernels::LinearArgs args, MakeLinear(d, shape, false));
         return Timed{[&d, args] { return d.ops().Linear(args); },
                      weight_bytes + 4.0 * static_cast<double>(shape.rows * (shape.in + shape.out)),
                      2.0 * static_cast<double>(shape.rows * shape.in * shape.out)};
       }});
}

// Query-key pairs that are not masked, over all sequences.
double Pairs(const BatchShape& shape) {
  double pairs = 0;
  for (size_t s = 0; s < shape.query_lens.size(); ++s) {
    const auto query_len = static_cast<double>(shape.query_lens[s]);
    pairs +=
        query_len * static_cast<double>(shape.context_lens[s]) - query_len * (query_len - 1) / 2;
  }
  return pairs;
}

void AddAttention(const char* what, const BatchShape& shape, std::vector<Case>& cases) {
  std::ostringstream name;
  name << "time " << what << ", " << shape.query_lens.size() << " x " << shape.query_lens[0]
       << " tokens, context " << shape.context_lens[0] << ", " << shape.num_heads << "/"
       << shape.num_kv_heads << " heads of " << shape.head_dim << ", KV " << DTypeName(shape.kv);
  double keys = 0;
  for (int64_t context_len : shape.context_lens) keys += static_cast<double>(context_len);
  const auto head_dim = static_cast<double>(shape.head_dim);
  const double bytes = keys * static_cast<double>(shape.num_kv_heads) * head_dim * 2 *
                       static_cast<double>(DTypeSize(shape.kv));
  const double flops = 4 * Pairs(shape) * head_dim * static_cast<double>(shape.num_heads);
  // The last token of the first sequence stands for all.
  const int64_t last = shape.query_lens[0] - 1;
  cases.push_back(
      {.op = "PagedAttention",
       .name = name.str(),
       .body = [=](Device& d) -> Result<Outputs> {
         LONGHAND_ASSIGN_OR_RETURN(const Outputs all, RunBatch(d, shape));
         return Outputs{all[0].Rows(last, 1)};
       },
       .tolerance = {1e-5, Tolerance::Metric::kOfLargest, "f32 sums of many keys"},
       .reference = [=](Device& d) { return RunSequence(d, shape, 0, last); },
       .timed = [=](Device& d) -> Result<Timed> {
         const kernels::PagedAttentionArgs args = MakeBatch(d, shape);
         return Timed{[&d, args] { return d.ops().PagedAttention(args); }, bytes, flops};
       }});
}

void AddAllAttention(std::vector<Case>& cases) {
  const auto batch = [](int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t num_seqs,
                        int64_t query_len, int64_t context_len, DType kv) {
    BatchShape shape{heads, kv_heads, head_dim, 16, kF32, kv};
    shape.query_lens.assign(static_cast<size_t>(num_seqs), query_len);
    shape.context_lens.assign(static_cast<size_t>(num_seqs), context_len);
    return shape;
  };
  AddAttention("decode", batch(12, 2, 128, 1, 1, 2048, kBf16), cases);
  AddAttention("decode", batch(14, 2, 64, 1, 1, 16384, kBf16), cases);
  AddAttention("decode", batch(12, 2, 128, 1, 1, 16384, kBf16), cases);
  AddAttention("decode", batch(28, 4, 128, 1, 1, 16384, kBf16), cases);
  AddAttention("decode", batch(28, 4, 128, 1, 1, 16384, kF32), cases);
  AddAttention("decode", batch(12, 2, 128, 16, 1, 2048, kBf16), cases);
  AddAttention("prefill", batch(12, 2, 128, 1, 512, 512, kBf16), cases);
  AddAttention("prefill", batch(12, 2, 128, 1, 512, 8192, kBf16), cases);
  AddAttention("prefill", batch(14, 2, 64, 1, 512, 2048, kBf16), cases);
}

// The body runs one head of the tower, the timing all 16.
kernels::VisionAttentionArgs MakeVision(Device& device,
                                        int64_t num_tokens,
                                        int64_t segment,
                                        int64_t num_heads) {
  Rng rng(/*seed=*/82);
  std::vector<int64_t> starts;
  for (int64_t start = 0; start <= num_tokens; start += segment) starts.push_back(start);
  kernels::VisionAttentionArgs args;
  const DType dtype = device.ops().ActivationDType(kF32);
  args.qkv = device.In(rng.Normal({num_tokens, 3, num_heads, 80}, dtype));
  args.cu_seqlens = device.In(Int32(starts));
  args.scale = 1.0f / std::sqrt(80.0f);
  args.out = device.Out(dtype, {num_tokens, num_heads, 80});
  return args;
}

void AddVision(int64_t num_tokens, int64_t segment, std::vector<Case>& cases) {
  const int64_t checked = std::min<int64_t>(segment, 1024);
  const double pairs = static_cast<double>(num_tokens) * static_cast<double>(segment);
  cases.push_back({.op = "VisionAttention",
                   .name = "time " + std::to_string(num_tokens) + " patches in segments of " +
                           std::to_string(segment) + ", 16 heads of 80",
                   .body = [=](Device& d) -> Result<Outputs> {
                     const auto args = MakeVision(d, checked, checked, 1);
                     LONGHAND_RETURN_IF_ERROR(d.ops().VisionAttention(args));
                     return Outputs{d.Read(args.out)};
                   },
                   .tolerance = {1e-5, Tolerance::Metric::kOfLargest, "f32 sums of many keys"},
                   .timed = [=](Device& d) -> Result<Timed> {
                     const auto args = MakeVision(d, num_tokens, segment, 16);
                     return Timed{[&d, args] { return d.ops().VisionAttention(args); },
                                  static_cast<double>(num_tokens) * 16 * 80 * 4 * 4,
                                  4 * pairs * 16 * 80};
                   }});
}

template <typename Args>
void AddElementwise(const char* op,
                    int64_t rows,
                    int64_t width,
                    Status (kernels::Ops::*method)(const Args&),
                    Args (*make)(Device&, int64_t, int64_t),
                    double bytes_per_element,
                    std::vector<Case>& cases) {
  cases.push_back({.op = op,
                   .name = "time " + std::to_string(rows) + "x" + std::to_string(width),
                   .body = [=](Device& d) -> Result<Outputs> {
                     const Args args = make(d, rows, width);
                     LONGHAND_RETURN_IF_ERROR((d.ops().*method)(args));
                     return Outputs{d.Read(args.out)};
                   },
                   .tolerance = {2e-6, Tolerance::Metric::kOfLargest, "functions in f32"},
                   .timed = [=](Device& d) -> Result<Timed> {
                     const Args args = make(d, rows, width);
                     return Timed{[&d, args, method] { return (d.ops().*method)(args); },
                                  bytes_per_element * static_cast<double>(rows * width), 0};
                   }});
}

kernels::RmsNormArgs MakeNorm(Device& device, int64_t rows, int64_t width) {
  Rng rng(/*seed=*/83);
  return {device.In(rng.Normal({rows, width}, kF32)),
          {},
          device.In(rng.Normal({width}, kF32)),
          1e-6f,
          device.Out(kF32, {rows, width})};
}

kernels::SwiGluArgs MakeGlu(Device& device, int64_t rows, int64_t width) {
  Rng rng(/*seed=*/84);
  return {device.In(rng.Normal({rows, 2 * width}, kF32)), device.Out(kF32, {rows, width})};
}

void AddSample(const char* what,
               const SamplingParams& params,
               double scale,
               std::vector<Case>& cases) {
  constexpr int64_t kVocab = 151936;
  const auto make = [=](Device& d) {
    Rng rng(/*seed=*/85);
    kernels::SampleArgs args;
    args.logits = d.In(rng.Normal({1, kVocab}, kF32, scale));
    args.token_ids = d.Out(DType::kI32, {1});
    return args;
  };
  const auto rows = std::make_shared<SamplingRows>(1, kVocab, params);
  cases.push_back(
      {.op = "Sample",
       .name = std::string("time 1x151936, ") + what,
       .body = [=](Device& d) -> Result<Outputs> {
         kernels::SampleArgs args = make(d);
         args.rows = &rows->rows();
         LONGHAND_RETURN_IF_ERROR(d.ops().Sample(args));
         return Outputs{d.Read(args.token_ids)};
       },
       .timed = [=](Device& d) -> Result<Timed> {
         kernels::SampleArgs args = make(d);
         args.rows = &rows->rows();
         return Timed{[&d, args, rows] { return d.ops().Sample(args); }, 4.0 * kVocab, 0};
       }});
}

void AddAllSamples(std::vector<Case>& cases) {
  SamplingParams params;
  AddSample("plain, flat logits", params, 1.0, cases);
  params.temperature = 0.6f;
  params.top_p = 0.95f;
  AddSample("temperature 0.6, top_p 0.95, peaked logits", params, 4.0, cases);
  AddSample("temperature 0.6, top_p 0.95, flat logits", params, 1.0, cases);
  params.top_k = 40;
  AddSample("top_k 40, top_p 0.95", params, 1.0, cases);
  params.temperature = 0;
  AddSample("greedy", params, 1.0, cases);
}

}  // namespace

void AddTimedCases(std::vector<Case>& cases) {
  for (const LinearShape& shape : {LinearShape{1, 896, 4864, kBf16},
                                   {1, 1536, 8960, kBf16},
                                   {1, 8960, 1536, kBf16},
                                   {1, 1536, 2048, kBf16},
                                   {1, 1536, 151936, kBf16},
                                   {1, 1536, 8960, kF32},
                                   {2, 1536, 8960, kBf16},
                                   {4, 1536, 8960, kBf16},
                                   {8, 1536, 8960, kBf16},
                                   {16, 1536, 8960, kBf16},
                                   {64, 1536, 8960, kBf16},
                                   {512, 1536, 8960, kBf16},
                                   {512, 8960, 1536, kBf16},
                                   {512, 896, 4864, kBf16},
                                   {2048, 1536, 8960, kBf16},
                                   {1024, 1280, 3840, kBf16}}) {
    AddLinear(shape, cases);
  }
  AddAllAttention(cases);
  AddVision(5184, 64, cases);
  AddVision(5184, 5184, cases);
  AddElementwise<kernels::RmsNormArgs>("RmsNorm", 1, 1536, &kernels::Ops::RmsNorm, MakeNorm, 8,
                                       cases);
  AddElementwise<kernels::RmsNormArgs>("RmsNorm", 512, 1536, &kernels::Ops::RmsNorm, MakeNorm, 8,
                                       cases);
  AddElementwise<kernels::SwiGluArgs>("SwiGlu", 1, 8960, &kernels::Ops::SwiGlu, MakeGlu, 12, cases);
  AddElementwise<kernels::SwiGluArgs>("SwiGlu", 512, 8960, &kernels::Ops::SwiGlu, MakeGlu, 12,
                                      cases);
  AddAllSamples(cases);
}

}  // namespace longhand::conformance
