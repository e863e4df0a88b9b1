#include "coordinator/input/pixel_policy.h"

namespace longhand::input {
namespace {

// The largest picture a policy may ask for; its pixels must fit one message to the workers.
constexpr int64_t kMaxPolicyPixels = int64_t{64} << 20;

}  // namespace

int64_t PixelPolicy::LargestPicture(int32_t factor) const {
  if (fixed_size) return int64_t{fixed_size->height} * fixed_size->width;
  return LargestSmartResize(factor, min_pixels, max_pixels);
}

std::string PixelPolicy::ToString() const {
  if (fixed_size) {
    return std::to_string(fixed_size->width) + " x " + std::to_string(fixed_size->height) +
           " pixels";
  }
  return std::to_string(min_pixels) + " to " + std::to_string(max_pixels) + " pixels";
}

Result<PixelPolicy> MakePixelPolicy(std::string_view name,
                                    const ImagePolicy& checkpoint,
                                    int64_t min_pixels,
                                    int64_t max_pixels) {
  PixelPolicy policy;
  if (name == "checkpoint") {
    policy = {checkpoint.min_pixels, checkpoint.max_pixels, std::nullopt};
  } else if (name == "longwriter") {
    policy = {50176, 1048576, std::nullopt};
  } else if (name == "training") {
    policy = {280 * 280, 280 * 280, ImageSize{280, 280}};
  } else {
    return InvalidArgument("the pixel policy is \"", name,
                           "\"; it must be checkpoint, longwriter or training");
  }
  if (policy.fixed_size && (min_pixels != 0 || max_pixels != 0)) {
    return InvalidArgument("the pixel policy ", name, " has one size, ", policy.ToString(),
                           "; min_pixels and max_pixels do not go with it");
  }
  if (min_pixels != 0) policy.min_pixels = min_pixels;
  if (max_pixels != 0) policy.max_pixels = max_pixels;
  if (policy.min_pixels < 1 || policy.min_pixels > policy.max_pixels ||
      policy.max_pixels > kMaxPolicyPixels) {
    return InvalidArgument(
        "min_pixels is ", policy.min_pixels, " and max_pixels is ", policy.max_pixels,
        "; they must satisfy 1 <= min_pixels <= max_pixels <= ", kMaxPolicyPixels);
  }
  return policy;
}

}  // namespace longhand::input
