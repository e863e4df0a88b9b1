// Rotary positions: the M-RoPE table, the decoder's fused bias + rotation + cache write, and the
// ViT's rotation.
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "kernels/host_checks.h"
#include "kernels/row_scale.h"
#include "kernels/reference/element.h"
#include "kernels/reference/reference_ops.h"

namespace longhand::kernels::reference {
namespace {

// Turns element i of a head's first half with element i of its second half.
template <typename In>
void Rotate(
    const In* in, const float* bias, const float* cos, const float* sin, int64_t half, float* out) {
  for (int64_t i = 0; i < half; ++i) {
    const float low = static_cast<float>(in[i]) + (bias == nullptr ? 0.0f : bias[i]);
    const float high = static_cast<float>(in[i + half]) + (bias == nullptr ? 0.0f : bias[i + half]);
    out[i] = static_cast<float>(double{low} * cos[i] - double{high} * sin[i]);
    out[i + half] = static_cast<float>(double{high} * cos[i] + double{low} * sin[i]);
  }
}

// Stores a row of a head in the cache, of `row` = its slot and head.
template <typename Kv>
void StoreRow(const QkvRopeWriteArgs& args, int64_t row, const std::vector<float>& x) {
  const auto head_dim = static_cast<int64_t>(x.size());
  Kv* out = args.kv_cache.as<Kv>() + row * head_dim;
  if constexpr (std::is_same_v<Kv, int8_t> || std::is_same_v<Kv, Fp8E4M3>) {
    float largest = 0;
    for (const float value : x) largest = std::max(largest, std::abs(value));
    constexpr bool kInt8 = std::is_same_v<Kv, int8_t>;
    const RowScale scale(largest, kInt8 ? kMaxInt8 : Fp8E4M3::kMax);
    args.kv_scales.as<float>()[row] = scale.scale;
    for (int64_t d = 0; d < head_dim; ++d) {
      const float stored = x[static_cast<size_t>(d)] * scale.inverse;
      if constexpr (kInt8) {
        out[d] = static_cast<int8_t>(std::nearbyint(std::clamp(stored, -kMaxInt8, kMaxInt8)));
      } else {
        out[d] = Fp8E4M3(stored);
      }
    }
  } else {
    for (int64_t d = 0; d < head_dim; ++d) out[d] = Kv(x[static_cast<size_t>(d)]);
  }
}

template <typename A, typename Kv>
void WriteToken(const QkvRopeWriteArgs& args, int64_t token) {
  const int64_t num_heads = args.query.dim(1), num_kv_heads = args.kv_cache.dim(3);
  const int64_t head_dim = args.kv_cache.dim(4), half = head_dim / 2;
  const A* qkv = args.qkv.as<A>() + token * (num_heads + 2 * num_kv_heads) * head_dim;
  const float* bias = args.bias.empty() ? nullptr : args.bias.as<float>();
  const float* cos = args.cos.as<float>() + token * half;
  const float* sin = args.sin.as<float>() + token * half;
  const int64_t slot = args.slot_mapping.as<int64_t>()[token];
  const int64_t num_slots = args.kv_cache.dim(1) * args.kv_cache.dim(2);
  std::vector<float> turned(static_cast<size_t>(head_dim));
  for (int64_t head = 0; head < num_heads + num_kv_heads; ++head) {
    const int64_t offset = head * head_dim;
    Rotate(qkv + offset, bias == nullptr ? nullptr : bias + offset, cos, sin, half, turned.data());
    if (head < num_heads) {
      A* query = args.query.as<A>() + (token * num_heads + head) * head_dim;
      for (int64_t d = 0; d < head_dim; ++d) query[d] = A(turned[d]);
    } else if (slot >= 0) {
      StoreRow<Kv>(args, slot * num_kv_heads + head - num_heads, turned);
    }
  }
  if (slot < 0) return;
  for (int64_t head = 0; head < num_kv_heads; ++head) {
    const int64_t offset = (num_heads + num_kv_heads + head) * head_dim;
    for (int64_t d = 0; d < head_dim; ++d) {
      turned[d] = static_cast<float>(qkv[offset + d]) + (bias == nullptr ? 0.0f : bias[offset + d]);
    }
    StoreRow<Kv>(args, (num_slots + slot) * num_kv_heads + head, turned);
  }
}

}  // namespace

// The angle is the f32 product of position and frequency, as in the reference implementation: at
// long contexts its rounding is larger than any error of cos.
Status MropeTable(const MropeTableArgs& args) {
  const int64_t half = args.inv_freq.dim(0);
  const int32_t* positions = args.positions.as<int32_t>();
  const float* inv_freq = args.inv_freq.as<float>();
  for (int64_t token = 0; token < args.positions.dim(0); ++token) {
    for (int64_t i = 0; i < half; ++i) {
      const int axis = i < args.section[0] ? 0 : i < args.section[0] + args.section[1] ? 1 : 2;
      const float angle = static_cast<float>(positions[token * 3 + axis]) * inv_freq[i];
      args.cos.as<float>()[token * half + i] =
          static_cast<float>(std::cos(double{angle})) * args.attention_scaling;
      args.sin.as<float>()[token * half + i] =
          static_cast<float>(std::sin(double{angle})) * args.attention_scaling;
    }
  }
  return OkStatus();
}

Status QkvRopeWrite(const QkvRopeWriteArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckSlots(args.slot_mapping, args.kv_cache));
  WithFloatType(args.query.dtype(), [&](auto a) {
    WithKvType(args.kv_cache.dtype(), [&](auto kv) {
      for (int64_t token = 0; token < args.query.dim(0); ++token) {
        WriteToken<decltype(a), decltype(kv)>(args, token);
      }
    });
  });
  return OkStatus();
}

Status VisionRope(const VisionRopeArgs& args) {
  const int64_t num_heads = args.qkv.dim(2), head_dim = args.qkv.dim(3), half = head_dim / 2;
  WithFloatType(args.qkv.dtype(), [&](auto type) {
    using A = decltype(type);
    std::vector<float> turned(static_cast<size_t>(head_dim));
    for (int64_t token = 0; token < args.qkv.dim(0); ++token) {
      // Queries and keys lie side by side: 2 * num_heads heads.
      for (int64_t head = 0; head < 2 * num_heads; ++head) {
        A* x = args.qkv.as<A>() + (token * 3 * num_heads + head) * head_dim;
        Rotate(x, nullptr, args.cos.as<float>() + token * half, args.sin.as<float>() + token * half,
               half, turned.data());
        for (int64_t d = 0; d < head_dim; ++d) x[d] = A(turned[d]);
      }
    }
  });
  return OkStatus();
}

}  // namespace longhand::kernels::reference
