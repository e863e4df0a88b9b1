// Pixels to rows of patches, in the order in which the ViT merges them.
//
//   pixels  [height, width, 3]                        u8
//   out     [patches, 3 * temporal * patch * patch]   f32 or bf16; row = [channel][frame][y][x]
//
// Launch     a block of 256 threads for each patch.
// Cost       reads each pixel `temporal` times, writes each element once: memory.
// Errors     kInternal when the launch fails.
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/element.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;

struct Geometry {
  int patch, merge, frames;
  int width;    // pixels
  int units_x;  // merged patches in a row of the picture
  float mean[3], std[3];
};

template <typename A>
__global__ void __launch_bounds__(kThreads)
    PatchifyKernel(const uint8_t* pixels, Geometry geometry, A* out) {
  const int per_unit = geometry.merge * geometry.merge, area = geometry.patch * geometry.patch;
  const int unit = blockIdx.x / per_unit, within = blockIdx.x % per_unit;
  const int patch_y = unit / geometry.units_x * geometry.merge + within / geometry.merge;
  const int patch_x = unit % geometry.units_x * geometry.merge + within % geometry.merge;
  const int row_size = 3 * geometry.frames * area;
  A* row = out + static_cast<int64_t>(blockIdx.x) * row_size;
  for (int i = threadIdx.x; i < row_size; i += kThreads) {
    const int channel = i / (geometry.frames * area), y = i % area / geometry.patch;
    const int64_t pixel_y = static_cast<int64_t>(patch_y) * geometry.patch + y;
    const int64_t pixel_x = static_cast<int64_t>(patch_x) * geometry.patch + i % geometry.patch;
    const float value = pixels[(pixel_y * geometry.width + pixel_x) * 3 + channel] / 255.0f;
    row[i] = FromFloat<A>((value - geometry.mean[channel]) / geometry.std[channel]);
  }
}

}  // namespace

Status Patchify(Context& context, const PatchifyArgs& args) {
  if (args.out.num_elements() == 0) return OkStatus();
  Geometry geometry{static_cast<int>(args.patch_size),
                    static_cast<int>(args.merge_size),
                    static_cast<int>(args.temporal_patch_size),
                    static_cast<int>(args.pixels.dim(1)),
                    static_cast<int>(args.pixels.dim(1) / (args.patch_size * args.merge_size)),
                    {},
                    {}};
  for (int i = 0; i < 3; ++i) {
    geometry.mean[i] = args.mean[i];
    geometry.std[i] = args.std[i];
  }
  return WithDeviceType(args.out.dtype(), [&](auto type) {
    using A = decltype(type);
    return Launch("Patchify", context.stream, {static_cast<unsigned>(args.out.dim(0)), kThreads},
                  &PatchifyKernel<A>, Elements<uint8_t>(args.pixels), geometry,
                  Elements<A>(args.out));
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
