// MropeTable, QkvRopeWrite, VisionRope.
#include <cmath>

#include "tests/conformance/cases.h"

namespace longhand::conformance {
namespace {

// [T, 3] positions as after a picture: time stands still while height and width run.
HostTensor Positions(int64_t num_tokens, int64_t first) {
  std::vector<int64_t> values;
  for (int64_t i = 0; i < num_tokens; ++i) {
    values.insert(values.end(), {first + i / 7, first + i % 7, first + i % 5});
  }
  return Int32(values, {num_tokens, 3});
}

HostTensor InvFreq(int64_t head_dim) {
  HostTensor out(DType::kF32, {head_dim / 2});
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    out.Set(i, std::pow(1e6, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim)));
  }
  return out;
}

Result<Outputs> RunMropeTable(Device& device, int64_t num_tokens, int64_t head_dim, int64_t first) {
  kernels::MropeTableArgs args;
  const int64_t half = head_dim / 2;
  args.positions = device.In(Positions(num_tokens, first));
  args.inv_freq = device.In(InvFreq(head_dim));
  args.section[0] = half / 4;
  args.section[1] = (half - half / 4) / 2;
  args.section[2] = half - args.section[0] - args.section[1];
  args.attention_scaling = 1.1386294f;
  args.cos = device.Out(DType::kF32, {num_tokens, half});
  args.sin = device.Out(DType::kF32, {num_tokens, half});
  LONGHAND_RETURN_IF_ERROR(device.ops().MropeTable(args));
  return Outputs{device.Read(args.cos), device.Read(args.sin)};
}

struct Heads {
  int64_t heads, kv_heads, head_dim;
};

// Slot 63 is the last of the last block, where an off-by-one shows; token 1 is padding.
Result<Outputs> RunQkvRopeWrite(
    Device& device, const Heads& heads, DType activation, DType kv, bool bias) {
  Rng rng(/*seed=*/41);
  constexpr int64_t kTokens = 5;
  const int64_t width = (heads.heads + 2 * heads.kv_heads) * heads.head_dim;
  kernels::QkvRopeWriteArgs args;
  args.qkv = device.In(rng.Normal({kTokens, width}, activation));
  args.cos = device.In(rng.Normal({kTokens, heads.head_dim / 2}, DType::kF32));
  args.sin = device.In(rng.Normal({kTokens, heads.head_dim / 2}, DType::kF32));
  if (bias) args.bias = device.In(rng.Normal({width}, DType::kF32));
  args.slot_mapping = device.In(Int64({17, -1, 63, 0, 16}));
  args.query = device.Out(activation, {kTokens, heads.heads, heads.head_dim});
  args.kv_cache = device.InOut(rng.Normal({2, 4, 16, heads.kv_heads, heads.head_dim}, kv));
  LONGHAND_RETURN_IF_ERROR(device.ops().QkvRopeWrite(args));
  return Outputs{device.Read(args.query), device.Read(args.kv_cache)};
}

Result<Outputs> RunVisionRope(Device& device, int64_t num_tokens, const Heads& heads, DType dtype) {
  Rng rng(/*seed=*/42);
  kernels::VisionRopeArgs args;
  args.qkv = device.InOut(rng.Normal({num_tokens, 3, heads.heads, heads.head_dim}, dtype));
  args.cos = device.In(rng.Normal({num_tokens, heads.head_dim / 2}, DType::kF32));
  args.sin = device.In(rng.Normal({num_tokens, heads.head_dim / 2}, DType::kF32));
  LONGHAND_RETURN_IF_ERROR(device.ops().VisionRope(args));
  return Outputs{device.Read(args.qkv)};
}

std::string Name(const Heads& heads, DType activation) {
  return std::to_string(heads.heads) + "/" + std::to_string(heads.kv_heads) + " heads of " +
         std::to_string(heads.head_dim) + " " + std::string(DTypeName(activation));
}

}  // namespace

void AddRopeCases(std::vector<Case>& cases) {
  for (int64_t head_dim : {2, 16, 64, 80, 128}) {
    for (int64_t first : {0, 130000}) {
      cases.push_back({.op = "MropeTable",
                       .name = "head_dim " + std::to_string(head_dim) + " from position " +
                               std::to_string(first),
                       .body = [=](Device& d) { return RunMropeTable(d, 37, head_dim, first); },
                       .tolerance = {3e-7, Tolerance::Metric::kOfLargest,
                                     "cos and sin within a unit of 1, and a product"}});
    }
  }
  const Heads all[] = {{1, 1, 2},  {2, 1, 16}, {3, 3, 30}, {4, 2, 32},
                       {7, 1, 64}, {2, 2, 80}, {7, 1, 128}};
  for (DType activation : {DType::kF32, DType::kBf16}) {
    for (const Heads& heads : all) {
      for (DType kv : {DType::kF32, DType::kBf16}) {
        const bool bf16 = activation == DType::kBf16 || kv == DType::kBf16;
        for (bool bias : {false, true}) {
          cases.push_back(
              {.op = "QkvRopeWrite",
               .name = Name(heads, activation) + " KV " + std::string(DTypeName(kv)) +
                       (bias ? " bias" : ""),
               .body = [=](Device& d) { return RunQkvRopeWrite(d, heads, activation, kv, bias); },
               .tolerance = {RoundingOf(bf16 ? DType::kBf16 : DType::kF32),
                             Tolerance::Metric::kOfLargest,
                             "two products, then the output's rounding"},
               .misaligned = heads.heads == 3});
        }
      }
      cases.push_back({.op = "VisionRope",
                       .name = Name(heads, activation),
                       .body = [=](Device& d) { return RunVisionRope(d, 6, heads, activation); },
                       .tolerance = {RoundingOf(activation), Tolerance::Metric::kOfLargest,
                                     "two products, then the output's rounding"},
                       .misaligned = heads.heads == 3});
    }
  }
}

}  // namespace longhand::conformance
