// Pixels to rows of patches, in the order in which the ViT merges them.
//
//   pixels  [height, width, 3]                        u8
//   out     [patches, 3 * temporal * patch * patch]   f32 or bf16; row = [channel][frame][y][x]
#include "kernels/reference/element.h"
#include "kernels/reference/reference_ops.h"

namespace longhand::kernels::reference {
namespace {

template <typename A>
void FillRow(const PatchifyArgs& args, int64_t patch_y, int64_t patch_x, A* row) {
  const int64_t size = args.patch_size, width = args.pixels.dim(1);
  const uint8_t* pixels = args.pixels.as<uint8_t>();
  for (int channel = 0; channel < 3; ++channel) {
    for (int64_t frame = 0; frame < args.temporal_patch_size; ++frame) {
      for (int64_t y = 0; y < size; ++y) {
        for (int64_t x = 0; x < size; ++x) {
          const int64_t pixel = (patch_y * size + y) * width + patch_x * size + x;
          const double value = pixels[pixel * 3 + channel] / 255.0;
          *row++ = A(static_cast<float>((value - args.mean[channel]) / args.std[channel]));
        }
      }
    }
  }
}

}  // namespace

Status Patchify(const PatchifyArgs& args) {
  const int64_t merge = args.merge_size;
  const int64_t units_y = args.pixels.dim(0) / (args.patch_size * merge);
  const int64_t units_x = args.pixels.dim(1) / (args.patch_size * merge);
  WithFloatType(args.out.dtype(), [&](auto type) {
    using A = decltype(type);
    A* row = args.out.as<A>();
    for (int64_t unit_y = 0; unit_y < units_y; ++unit_y) {
      for (int64_t unit_x = 0; unit_x < units_x; ++unit_x) {
        for (int64_t i = 0; i < merge * merge; ++i, row += args.out.dim(1)) {
          FillRow(args, unit_y * merge + i / merge, unit_x * merge + i % merge, row);
        }
      }
    }
  });
  return OkStatus();
}

}  // namespace longhand::kernels::reference
