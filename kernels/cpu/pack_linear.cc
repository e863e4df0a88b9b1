// Packs weights in panels; linear_kernel.h, linear_widen.h and int8_kernel.h have the layouts. What
// is past the last column, or the last k of a group, is zero.
//
// Errors     kResourceExhausted without memory.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/int8_kernels.h"
#include "kernels/cpu/panel_weight.h"
#include "kernels/host_memory.h"

namespace longhand::kernels::cpu {
namespace {

// Fills one panel: column c of a row lies at place(c).
template <typename W, typename Place>
void PackPanel(const TensorView& weight, int64_t panel, Place place, W* panels) {
  const int64_t out_features = weight.dim(0), in_features = weight.dim(1);
  W* out = panels + panel * in_features * kPanelColumns;
  const int64_t columns = std::min(kPanelColumns, out_features - panel * kPanelColumns);
  for (int64_t c = 0; c < columns; ++c) {
    const W* from =
        static_cast<const W*>(weight.data()) + (panel * kPanelColumns + c) * in_features;
    W* to = out + place(c);
    for (int64_t k = 0; k < in_features; ++k) to[k * kPanelColumns] = from[k];
  }
}

int64_t InOrder(int64_t c) { return c; }
int64_t InPairs(int64_t c) { return c % 16 * 2 + c / 16; }

// The same of 4 bits: column c shares a byte with column c + 16.
void PackInt4Panel(const QuantizedWeight& weight, int64_t panel, uint8_t* panels) {
  const int64_t in_features = weight.in_features();
  uint8_t* out = panels + panel * in_features * kPanelColumns / 2;
  const int64_t columns = std::min(kPanelColumns, weight.out_features() - panel * kPanelColumns);
  for (int64_t c = 0; c < columns; ++c) {
    const uint8_t* from =
        weight.codes.as<uint8_t>() + (panel * kPanelColumns + c) * in_features / 2;
    for (int64_t k = 0; k < in_features; ++k) {
      const int code = from[k / 2] >> (k % 2 * 4) & 15;
      out[k * kPanelColumns / 2 + c % 16] |= static_cast<uint8_t>(code << (c / 16 * 4));
    }
  }
}

// The same of int8: groups of 32 k's, each with its scales.
void PackInt8Panel(const QuantizedWeight& weight, int64_t panel, uint8_t* panels) {
  const int64_t in_features = weight.in_features(), groups = NumInt8Groups(in_features);
  uint8_t* out = panels + panel * groups * kInt8GroupBytes;
  const int64_t columns = std::min(kPanelColumns, weight.out_features() - panel * kPanelColumns);
  for (int64_t c = 0; c < columns; ++c) {
    const int64_t n = panel * kPanelColumns + c;
    const int8_t* from = weight.codes.as<int8_t>() + n * in_features;
    for (int64_t g = 0; g < groups; ++g) {
      uint8_t* group = out + g * kInt8GroupBytes;
      reinterpret_cast<Bf16*>(group)[InPairs(c)] = weight.scales.as<Bf16>()[n * groups + g];
      uint8_t* codes = group + 2 * kPanelColumns + 4 * c;
      const int64_t end = std::min(in_features - g * kInt8Group, kInt8Group);
      for (int64_t k = 0; k < end; ++k) {
        codes[k / 4 * 4 * kPanelColumns + k % 4] =
            static_cast<uint8_t>(from[g * kInt8Group + k] + 128);
      }
    }
  }
}

void PackGroups(const QuantizedWeight& weight, uint32_t* words) {
  const int64_t num_groups = weight.scales.dim(1);
  for (int64_t n = 0; n < weight.out_features(); ++n) {
    for (int64_t g = 0; g < num_groups; ++g) {
      const uint32_t scale = weight.scales.as<Bf16>()[n * num_groups + g].bits;
      const uint32_t zero = Bf16(weight.zeros.as<uint8_t>()[n * num_groups + g]).bits;
      words[(n / kPanelColumns * num_groups + g) * kPanelColumns + n % kPanelColumns] =
          scale << 16 | zero;
    }
  }
}

PanelFormat FormatOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return PanelFormat::kF32;
    case DType::kBf16:
      return PanelFormat::kBf16;
    case DType::kU8:
      return PanelFormat::kInt4;
    case DType::kI8:
      return PanelFormat::kInt8;
    default:
      return PanelFormat::kFp8;
  }
}

int64_t PanelBytes(PanelFormat format, int64_t out_features, int64_t in_features) {
  const int64_t bytes = format == PanelFormat::kInt8 ? NumInt8Groups(in_features) * kInt8GroupBytes
                                                     : in_features * RowBytes(format);
  return NumPanels(out_features) * bytes;
}

// Of fp8 and 4 bits.
int64_t ScaleBytes(int64_t out_features, int64_t num_groups) {
  return NumPanels(out_features) * kPanelColumns * num_groups * 4;
}

template <typename Pack>
Result<std::unique_ptr<Buffer>> PackPanels(
    CpuContext& cpu, PanelFormat format, int64_t out_features, int64_t in_features, Pack pack) {
  const int64_t num_panels = NumPanels(out_features);
  const auto bytes = static_cast<size_t>(PanelBytes(format, out_features, in_features));
  LONGHAND_ASSIGN_OR_RETURN(auto panels, AllocateHostUnwritten(bytes));
  const size_t panel_bytes = bytes / static_cast<size_t>(std::max<int64_t>(num_panels, 1));
  ForRows(cpu, num_panels, num_panels * kPanelColumns * in_features,
          [&](int64_t begin, int64_t end, int) {
            for (int64_t panel = begin; panel < end; ++panel) {
              char* const first = static_cast<char*>(panels->data());
              std::memset(first + static_cast<size_t>(panel) * panel_bytes, 0, panel_bytes);
              pack(panel, panels->data());
            }
          });
  return panels;
}

}  // namespace

int64_t PackedBytes(const WeightShape& shape) {
  const int64_t panels = PanelBytes(FormatOf(shape.dtype), shape.out_features, shape.in_features);
  const bool has_groups = shape.dtype == DType::kU8;
  if (!has_groups && shape.dtype != DType::kF8E4M3) return panels;
  return panels +
         ScaleBytes(shape.out_features, has_groups ? shape.in_features / shape.group_size : 1);
}

Result<std::unique_ptr<PackedLinear>> PackLinear(CpuContext& cpu,
                                                 TensorView weight,
                                                 LinearLayout layout) {
  const bool is_bf16 = weight.dtype() == DType::kBf16;
  const PanelFormat format = FormatOf(weight.dtype());
  LONGHAND_ASSIGN_OR_RETURN(
      auto panels,
      PackPanels(cpu, format, weight.dim(0), weight.dim(1), [&](int64_t panel, void* out) {
        if (is_bf16) return PackPanel(weight, panel, InPairs, static_cast<Bf16*>(out));
        PackPanel(weight, panel, InOrder, static_cast<float*>(out));
      }));
  return std::unique_ptr<PackedLinear>(std::make_unique<PanelWeight>(
      format, layout, weight.dim(0), weight.dim(1), std::move(panels)));
}

Result<std::unique_ptr<PackedLinear>> PackQuantized(CpuContext& cpu,
                                                    const QuantizedWeight& weight,
                                                    LinearLayout layout) {
  const int64_t out_features = weight.out_features(), in_features = weight.in_features();
  const bool is_int4 = weight.is_int4();
  const PanelFormat format = FormatOf(weight.codes.dtype());
  const bool is_int8 = format == PanelFormat::kInt8;
  LONGHAND_ASSIGN_OR_RETURN(
      auto panels,
      PackPanels(cpu, format, out_features, in_features, [&](int64_t panel, void* out) {
        if (is_int4) return PackInt4Panel(weight, panel, static_cast<uint8_t*>(out));
        if (is_int8) return PackInt8Panel(weight, panel, static_cast<uint8_t*>(out));
        PackPanel(weight.codes, panel, InOrder, static_cast<uint8_t*>(out));
      }));
  if (is_int8) {
    return std::unique_ptr<PackedLinear>(std::make_unique<PanelWeight>(
        format, layout, out_features, in_features, std::move(panels)));
  }
  const int64_t num_groups = is_int4 ? weight.scales.dim(1) : 1;
  LONGHAND_ASSIGN_OR_RETURN(
      auto scales, AllocateHost(static_cast<size_t>(ScaleBytes(out_features, num_groups))));
  if (is_int4) {
    PackGroups(weight, static_cast<uint32_t*>(scales->data()));
  } else {
    std::copy_n(weight.scales.as<float>(), out_features, static_cast<float*>(scales->data()));
  }
  return std::unique_ptr<PackedLinear>(
      std::make_unique<PanelWeight>(format, layout, out_features, in_features, std::move(panels),
                                    std::move(scales), is_int4 ? weight.group_size() : 0));
}

}  // namespace longhand::kernels::cpu
