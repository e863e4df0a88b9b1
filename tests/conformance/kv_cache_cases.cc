// The KV cache in 8 bits, as QkvRopeWrite leaves it; and CopyBlocks.
#include <cmath>
#include <utility>

#include "common/kv_dtype.h"
#include "tests/conformance/cases.h"

namespace longhand::conformance {
namespace {

struct Shape {
  int64_t heads, kv_heads, head_dim;
};

// Slot 63 is the last of the last block; token 1 is padding; token 3 is all zeros.
constexpr int64_t kTokens = 5, kBlocks = 4, kBlockSize = 16;
constexpr int64_t kSlots[kTokens] = {17, -1, 63, 0, 16};

Result<kernels::QkvRopeWriteArgs> Write(Device& device,
                                        const Shape& shape,
                                        DType activation,
                                        DType kv,
                                        bool bias,
                                        int64_t first,
                                        int64_t count) {
  Rng rng(/*seed=*/43);
  const int64_t width = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
  HostTensor qkv = rng.Normal({kTokens, width}, activation);
  const HostTensor cos = rng.Normal({kTokens, shape.head_dim / 2}, DType::kF32);
  const HostTensor sin = rng.Normal({kTokens, shape.head_dim / 2}, DType::kF32);
  for (int64_t i = 0; i < width && !bias; ++i) qkv.Set(3 * width + i, 0);
  kernels::QkvRopeWriteArgs args;
  args.qkv = device.In(qkv.Rows(first, count));
  args.cos = device.In(cos.Rows(first, count));
  args.sin = device.In(sin.Rows(first, count));
  if (bias) args.bias = device.In(rng.Normal({width}, DType::kF32, 3.0));
  args.slot_mapping = device.In(Int64({kSlots + first, kSlots + first + count}));
  args.query = device.Out(activation, {count, shape.heads, shape.head_dim});
  args.kv_cache =
      device.InOut(HostTensor(kv, {2, kBlocks, kBlockSize, shape.kv_heads, shape.head_dim}));
  if (HasKvScales(kv)) {
    args.kv_scales =
        device.InOut(HostTensor(DType::kF32, {2, kBlocks, kBlockSize, shape.kv_heads}));
  }
  LONGHAND_RETURN_IF_ERROR(device.ops().QkvRopeWrite(args));
  return args;
}

// What the cache means: elements times scales, as floats.
HostTensor Meaning(Device& device, const kernels::QkvRopeWriteArgs& args) {
  const HostTensor stored = device.Read(args.kv_cache);
  HostTensor out(DType::kF32, stored.shape);
  const int64_t head_dim = stored.shape[4];
  HostTensor scales;
  if (!args.kv_scales.empty()) scales = device.Read(args.kv_scales);
  for (int64_t i = 0; i < stored.num_elements(); ++i) {
    out.Set(i, stored.At(i) * (args.kv_scales.empty() ? 1.0 : scales.At(i / head_dim)));
  }
  return out;
}

Result<Outputs> RunWrite(
    Device& device, const Shape& shape, DType activation, DType kv, bool bias) {
  LONGHAND_ASSIGN_OR_RETURN(const auto args,
                            Write(device, shape, activation, kv, bias, 0, kTokens));
  return Outputs{device.Read(args.query), Meaning(device, args)};
}

// The bytes of one token, written in a call of its own or with all.
Result<Outputs> RunStored(
    Device& device, const Shape& shape, DType kv, int64_t first, int64_t count) {
  LONGHAND_ASSIGN_OR_RETURN(const auto args,
                            Write(device, shape, DType::kF32, kv, true, first, count));
  const HostTensor cache = device.Read(args.kv_cache), scales = device.Read(args.kv_scales);
  const auto slot = [](const HostTensor& tensor, int64_t side) {
    HostTensor flat = tensor;
    flat.shape = {2 * kBlocks * kBlockSize, tensor.num_elements() / (2 * kBlocks * kBlockSize)};
    return flat.Rows(side * kBlocks * kBlockSize + kSlots[2], 1);
  };
  return Outputs{slot(cache, 0), slot(cache, 1), slot(scales, 0), slot(scales, 1)};
}

void AddWrites(const Shape& shape, DType kv, std::vector<Case>& cases) {
  const std::string name = std::to_string(shape.heads) + "/" + std::to_string(shape.kv_heads) +
                           " heads of " + std::to_string(shape.head_dim) + ", KV " +
                           std::string(DTypeName(kv));
  // Half a step of the row's largest element: of 127, or of 448, where neighbours are 32 apart.
  const double half_step = kv == DType::kI8 ? 0.5 / 127 : 16.0 / 448;
  for (const DType activation : {DType::kF32, DType::kBf16}) {
    for (const bool bias : {false, true}) {
      cases.push_back(
          {.op = "QkvRopeWrite",
           .name = name + " holds what one of float32 would, " +
                   std::string(DTypeName(activation)) + (bias ? " with bias" : ""),
           .body = [=](Device& d) { return RunWrite(d, shape, activation, kv, bias); },
           .tolerance = {half_step + RoundingOf(activation), Tolerance::Metric::kOfLargest,
                         "half a step of the largest element of a row"},
           .misaligned = shape.heads == 3,
           .reference =
               [=](Device& d) { return RunWrite(d, shape, activation, DType::kF32, bias); }});
    }
  }
  cases.push_back({.op = "QkvRopeWrite",
                   .name = name + ", a token alone = among others",
                   .body = [=](Device& d) { return RunStored(d, shape, kv, 2, 1); },
                   .same_bits = [=](Device& d) { return RunStored(d, shape, kv, 0, kTokens); }});
}

// Blocks of `from` in a cache of another size, or in the same.
Result<Outputs> RunCopy(Device& device,
                        DType dtype,
                        std::vector<int64_t> shape,
                        int64_t num_to,
                        const std::vector<int64_t>& pairs) {
  Rng rng(/*seed=*/44);
  const auto random = [&](int64_t num_blocks) {
    shape[1] = num_blocks;
    HostTensor bytes = rng.Bytes({static_cast<int64_t>(HostTensor(dtype, shape).bytes.size())});
    HostTensor out(dtype, shape);
    out.bytes = std::move(bytes.bytes);
    return out;
  };
  kernels::CopyBlocksArgs args;
  args.from = device.InOut(random(shape[1]));
  args.to = num_to == 0 ? args.from : device.InOut(random(num_to));
  args.pairs = device.In(Int32(pairs, {static_cast<int64_t>(pairs.size()) / 2, 2}));
  LONGHAND_RETURN_IF_ERROR(device.ops().CopyBlocks(args));
  HostTensor out = device.Read(args.to);
  out.dtype = DType::kU8;  // compared as bytes: random floats may be NaN
  out.shape = {static_cast<int64_t>(out.bytes.size())};
  return Outputs{out};
}

void AddCopies(std::vector<Case>& cases) {
  const struct {
    const char* what;
    DType dtype;
    std::vector<int64_t> shape;
  } caches[] = {{"bf16", DType::kBf16, {2, 7, 16, 2, 64}},
                {"int8", DType::kI8, {2, 7, 16, 1, 128}},
                {"scales", DType::kF32, {2, 7, 16, 3}},
                {"odd rows", DType::kI8, {2, 7, 3, 1, 5}}};
  for (const auto& cache : caches) {
    const auto add = [&](const char* what, int64_t num_to, const std::vector<int64_t>& pairs) {
      cases.push_back({.op = "CopyBlocks",
                       .name = std::string(cache.what) + ", " + what,
                       .body = [=, dtype = cache.dtype, shape = cache.shape](
                                   Device& d) { return RunCopy(d, dtype, shape, num_to, pairs); },
                       .misaligned = cache.shape.back() == 5});
    };
    add("within a cache", 0, {0, 6, 3, 1, 3, 2});
    add("to a larger one", 9, {6, 8, 0, 0, 3, 5});
    add("to a smaller one", 2, {6, 1});
    add("nothing", 0, {});
  }
}

}  // namespace

void AddKvCacheCases(std::vector<Case>& cases) {
  for (const DType kv : {DType::kI8, DType::kF8E4M3}) {
    for (const Shape& shape :
         {Shape{2, 1, 16}, {3, 3, 20}, {4, 2, 32}, {7, 1, 64}, {2, 2, 80}, {28, 4, 128}}) {
      AddWrites(shape, kv, cases);
    }
  }
  AddCopies(cases);
}

}  // namespace longhand::conformance
