// Rotary positions: the M-RoPE table, the decoder's fused bias + rotation + cache write, and the
// ViT's rotation.
#include <cmath>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/host_checks.h"
#include "kernels/row_scale.h"

namespace longhand::kernels::cpu {
namespace {

// A row at a time: its scale is known when it has been turned.
void WriteInt8(CpuContext& cpu,
               const QkvRopeWriteArgs& args,
               int64_t slot,
               const float* keys,
               const float* bias,
               const float* cos,
               const float* sin) {
  const int64_t num_kv_heads = args.kv_cache.dim(3), head_dim = args.kv_cache.dim(4);
  const int64_t num_slots = args.kv_cache.dim(1) * args.kv_cache.dim(2);
  float row[kMaxHeadDim];
  for (int64_t head = 0; head < 2 * num_kv_heads; ++head) {
    const float* x = keys + head * head_dim;
    const float* head_bias = bias == nullptr ? nullptr : bias + head * head_dim;
    const bool is_key = head < num_kv_heads;
    if (is_key) {
      cpu.rows.rotate(x, head_bias, cos, sin, head_dim / 2, row);
    } else {
      cpu.rows.add(x, head_bias, head_dim, row);
    }
    const RowScale scale(cpu.rows.largest(row, head_dim), kMaxInt8);
    const int64_t idx = is_key ? slot * num_kv_heads + head
                               : (num_slots + slot) * num_kv_heads + head - num_kv_heads;
    args.kv_scales.as<float>()[idx] = scale.scale;
    cpu.rows.to_int8(row, scale.inverse, head_dim, args.kv_cache.as<int8_t>() + idx * head_dim);
  }
}

void WriteKeysAndValues(CpuContext& cpu,
                        const QkvRopeWriteArgs& args,
                        int64_t token,
                        const float* keys,
                        const float* bias) {
  const int64_t num_kv_heads = args.kv_cache.dim(3), head_dim = args.kv_cache.dim(4);
  const int64_t half = head_dim / 2, width = num_kv_heads * head_dim;
  const int64_t slot = args.slot_mapping.as<int64_t>()[token];
  if (slot < 0) return;
  const int64_t key_offset = slot * width;
  const int64_t value_offset = key_offset + args.kv_cache.num_elements() / 2;
  const float* cos = args.cos.as<float>() + token * half;
  const float* sin = args.sin.as<float>() + token * half;
  if (args.kv_cache.dtype() == DType::kI8) {
    return WriteInt8(cpu, args, slot, keys, bias, cos, sin);
  }
  const bool bf16 = args.kv_cache.dtype() == DType::kBf16;
  float* cache = static_cast<float*>(args.kv_cache.data());
  uint16_t* cache_bits = static_cast<uint16_t*>(args.kv_cache.data());
  for (int64_t offset = 0; offset < width; offset += head_dim) {
    const float* head_bias = bias == nullptr ? nullptr : bias + offset;
    if (bf16) {
      cpu.rows.rotate_to_bf16(keys + offset, head_bias, cos, sin, half,
                              cache_bits + key_offset + offset);
    } else {
      cpu.rows.rotate(keys + offset, head_bias, cos, sin, half, cache + key_offset + offset);
    }
  }
  const float* value_bias = bias == nullptr ? nullptr : bias + width;
  if (bf16) {
    cpu.rows.add_to_bf16(keys + width, value_bias, width, cache_bits + value_offset);
  } else {
    cpu.rows.add(keys + width, value_bias, width, cache + value_offset);
  }
}

}  // namespace

// The angle is the f32 product of position and frequency, as in the reference implementation. The
// table is made once a step, so the C library's cos and sin do.
Status MropeTable(CpuContext& cpu, const MropeTableArgs& args) {
  const int64_t half = args.inv_freq.dim(0);
  const int32_t* positions = args.positions.as<int32_t>();
  const float* inv_freq = args.inv_freq.as<float>();
  const int64_t num_tokens = args.positions.dim(0);
  ForRows(cpu, num_tokens, num_tokens * half * 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t token = begin; token < end; ++token) {
      int64_t i = 0;
      for (int axis = 0; axis < 3; ++axis) {
        const float position = static_cast<float>(positions[token * 3 + axis]);
        for (int64_t j = 0; j < args.section[axis]; ++j, ++i) {
          const float angle = position * inv_freq[i];
          args.cos.as<float>()[token * half + i] = std::cos(angle) * args.attention_scaling;
          args.sin.as<float>()[token * half + i] = std::sin(angle) * args.attention_scaling;
        }
      }
    }
  });
  return OkStatus();
}

Status QkvRopeWrite(CpuContext& cpu, const QkvRopeWriteArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.query));
  LONGHAND_RETURN_IF_ERROR(CheckKv(args.kv_cache));
  LONGHAND_RETURN_IF_ERROR(CheckSlots(args.slot_mapping, args.kv_cache));
  const int64_t num_heads = args.query.dim(1), num_kv_heads = args.kv_cache.dim(3);
  const int64_t head_dim = args.kv_cache.dim(4), half = head_dim / 2;
  const int64_t width = (num_heads + 2 * num_kv_heads) * head_dim;
  const float* bias = args.bias.empty() ? nullptr : args.bias.as<float>();
  ForRows(cpu, args.query.dim(0), args.qkv.num_elements(), [&](int64_t begin, int64_t end, int) {
    for (int64_t token = begin; token < end; ++token) {
      const float* qkv = args.qkv.as<float>() + token * width;
      float* query = args.query.as<float>() + token * num_heads * head_dim;
      for (int64_t offset = 0; offset < num_heads * head_dim; offset += head_dim) {
        cpu.rows.rotate(qkv + offset, bias == nullptr ? nullptr : bias + offset,
                        args.cos.as<float>() + token * half, args.sin.as<float>() + token * half,
                        half, query + offset);
      }
      const int64_t keys = num_heads * head_dim;
      WriteKeysAndValues(cpu, args, token, qkv + keys, bias == nullptr ? nullptr : bias + keys);
    }
  });
  return OkStatus();
}

Status VisionRope(CpuContext& cpu, const VisionRopeArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckActivations(args.qkv));
  const int64_t num_heads = args.qkv.dim(2), head_dim = args.qkv.dim(3), half = head_dim / 2;
  ForRows(cpu, args.qkv.dim(0), args.qkv.num_elements(), [&](int64_t begin, int64_t end, int) {
    for (int64_t token = begin; token < end; ++token) {
      float* qkv = args.qkv.as<float>() + token * 3 * num_heads * head_dim;
      // Queries and keys lie side by side: 2 * num_heads heads.
      for (int64_t head = 0; head < 2 * num_heads; ++head) {
        float* x = qkv + head * head_dim;
        cpu.rows.rotate(x, nullptr, args.cos.as<float>() + token * half,
                        args.sin.as<float>() + token * half, half, x);
      }
    }
  });
  return OkStatus();
}

}  // namespace longhand::kernels::cpu
