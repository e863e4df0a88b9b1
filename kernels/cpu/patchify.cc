// Pixels to rows of patches, in the order in which the ViT merges them.
//
//   pixels  [height, width, 3]                        u8
//   out     [patches, 3 * temporal * patch * patch]   f32; row = [channel][frame][y][x]
#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/cpu/cpu_ops.h"

namespace longhand::kernels::cpu {
namespace {

// A byte has 256 values: the normalised ones are a table per channel.
using Table = std::array<std::array<float, 256>, 3>;

Table NormalisedValues(const PatchifyArgs& args) {
  Table table;
  for (int channel = 0; channel < 3; ++channel) {
    for (int value = 0; value < 256; ++value) {
      const double scaled = value / 255.0;
      table[channel][value] = static_cast<float>((scaled - args.mean[channel]) / args.std[channel]);
    }
  }
  return table;
}

void FillRow(
    const PatchifyArgs& args, const Table& table, int64_t patch_y, int64_t patch_x, float* row) {
  const int64_t size = args.patch_size, width = args.pixels.dim(1);
  const uint8_t* patch = args.pixels.as<uint8_t>() + (patch_y * width + patch_x) * size * 3;
  for (int channel = 0; channel < 3; ++channel) {
    float* frame = row + channel * args.temporal_patch_size * size * size;
    for (int64_t y = 0; y < size; ++y) {
      for (int64_t x = 0; x < size; ++x) {
        frame[y * size + x] = table[channel][patch[(y * width + x) * 3 + channel]];
      }
    }
    for (int64_t t = 1; t < args.temporal_patch_size; ++t) {
      std::copy_n(frame, size * size, frame + t * size * size);
    }
  }
}

}  // namespace

Status Patchify(CpuContext& cpu, const PatchifyArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.out));
  const Table table = NormalisedValues(args);
  const int64_t merge = args.merge_size, units_x = args.pixels.dim(1) / (args.patch_size * merge);
  const int64_t row_size = args.out.dim(1);
  ForRows(cpu, args.out.dim(0), args.out.num_elements(), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t unit = i / (merge * merge), within = i % (merge * merge);
      FillRow(args, table, unit / units_x * merge + within / merge,
              unit % units_x * merge + within % merge, args.out.as<float>() + i * row_size);
    }
  });
  return OkStatus();
}

}  // namespace longhand::kernels::cpu
