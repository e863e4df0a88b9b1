// Patchify and VisionAttention.
#include <cmath>
#include <numeric>

#include "tests/conformance/cases.h"

namespace longhand::conformance {
namespace {

Result<Outputs> RunPatchify(
    Device& device, int64_t height, int64_t width, int64_t patch, int64_t merge, DType dtype) {
  Rng rng(/*seed=*/61);
  kernels::PatchifyArgs args;
  args.pixels = device.In(rng.Bytes({height, width, 3}));
  args.patch_size = patch;
  args.merge_size = merge;
  const float mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
  const float std[3] = {0.26862954f, 0.26130258f, 0.27577711f};
  std::copy_n(mean, 3, args.mean);
  std::copy_n(std, 3, args.std);
  args.out = device.Out(dtype, {height * width / (patch * patch), 3 * 2 * patch * patch});
  LONGHAND_RETURN_IF_ERROR(device.ops().Patchify(args));
  return Outputs{device.Read(args.out)};
}

Result<Outputs> RunVisionAttention(Device& device,
                                   const std::vector<int64_t>& segments,
                                   int64_t num_heads,
                                   int64_t head_dim,
                                   DType dtype) {
  Rng rng(/*seed=*/62);
  std::vector<int64_t> starts{0};
  for (int64_t length : segments) starts.push_back(starts.back() + length);
  kernels::VisionAttentionArgs args;
  args.qkv = device.In(rng.Normal({starts.back(), 3, num_heads, head_dim}, dtype, 1.2));
  args.cu_seqlens = device.In(Int32(starts));
  args.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  args.out = device.Out(dtype, {starts.back(), num_heads, head_dim});
  LONGHAND_RETURN_IF_ERROR(device.ops().VisionAttention(args));
  return Outputs{device.Read(args.out)};
}

void AddSegments(const char* what,
                 const std::vector<int64_t>& segments,
                 int64_t num_heads,
                 int64_t head_dim,
                 DType dtype,
                 std::vector<Case>& cases) {
  cases.push_back({.op = "VisionAttention",
                   .name = std::string(what) + ": " + std::to_string(num_heads) + " heads of " +
                           std::to_string(head_dim) + " " + std::string(DTypeName(dtype)),
                   .body =
                       [=](Device& device) {
                         return RunVisionAttention(device, segments, num_heads, head_dim, dtype);
                       },
                   .tolerance = {4e-6 + (dtype == DType::kBf16 ? 2 : 1) * RoundingOf(dtype),
                                 Tolerance::Metric::kOfLargest,
                                 "scores carry f32 roundings into exp; then the output's rounding, "
                                 "of a whole unit where bf16 weights move it over a tie"},
                   .misaligned = head_dim == 30});
}

}  // namespace

void AddVisionCases(std::vector<Case>& cases) {
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    struct Picture {
      int64_t height, width, patch, merge;
    };
    for (const Picture& p : {Picture{28, 28, 14, 2}, Picture{56, 84, 14, 2}, Picture{12, 6, 3, 1},
                             Picture{30, 20, 5, 2}}) {
      cases.push_back({.op = "Patchify",
                       .name = std::to_string(p.height) + "x" + std::to_string(p.width) +
                               " patches of " + std::to_string(p.patch) + " merged by " +
                               std::to_string(p.merge) + " " + std::string(DTypeName(dtype)),
                       .body =
                           [=](Device& device) {
                             return RunPatchify(device, p.height, p.width, p.patch, p.merge, dtype);
                           },
                       .tolerance = {2e-7 + RoundingOf(dtype), Tolerance::Metric::kOfLargest,
                                     "a difference and a quotient, then the output's rounding"}});
    }
    for (int64_t head_dim : {16, 30, 32, 64, 80, 128}) {
      AddSegments("windows", {64, 64, 32, 16, 4}, 2, head_dim, dtype, cases);
      AddSegments("uneven segments", {1, 65, 130, 7}, 3, head_dim, dtype, cases);
    }
    AddSegments("one long segment", {700}, 2, 80, dtype, cases);
    AddSegments("long segments", {257, 1, 640, 300}, 2, 80, dtype, cases);
  }
}

}  // namespace longhand::conformance
