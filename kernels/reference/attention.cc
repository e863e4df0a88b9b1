// Attention: the decoder's over the paged KV cache (causal, grouped query heads), the ViT's inside
// segments.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/host_checks.h"
#include "kernels/reference/element.h"
#include "kernels/reference/reference_ops.h"

namespace longhand::kernels::reference {
namespace {

// One query over num_keys keys: out = softmax(scale * query . key) * value. `key` and `value`
// return the head vector of key number j, whose elements are functions of d.
template <typename A, typename Key, typename Value>
void Attend(const A* query,
            int64_t head_dim,
            int64_t num_keys,
            double scale,
            Key&& key,
            Value&& value,
            A* out) {
  std::vector<double> weights(static_cast<size_t>(num_keys));
  double max = -INFINITY;
  for (int64_t j = 0; j < num_keys; ++j) {
    double sum = 0;
    for (int64_t d = 0; d < head_dim; ++d) sum += ToDouble(query[d]) * key(j)(d);
    weights[j] = sum * scale;
    max = std::max(max, weights[j]);
  }
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - max);
  for (int64_t d = 0; d < head_dim; ++d) {
    double sum = 0;
    for (int64_t j = 0; j < num_keys; ++j) sum += weights[j] * value(j)(d);
    out[d] = A(static_cast<float>(sum / total));
  }
}

template <typename A, typename Kv>
void AttendSequence(const PagedAttentionArgs& args, int64_t s) {
  const int64_t num_heads = args.query.dim(1), head_dim = args.query.dim(2);
  const int64_t block_size = args.kv_cache.dim(2), num_kv_heads = args.kv_cache.dim(3);
  const int64_t num_slots = args.kv_cache.dim(1) * block_size;
  const int32_t* blocks = args.block_table.as<int32_t>() + s * args.block_table.dim(1);
  const int64_t begin = args.cu_query_lens.as<int32_t>()[s];
  const int64_t end = args.cu_query_lens.as<int32_t>()[s + 1];
  const int64_t context_len = args.context_len.as<int32_t>()[s];
  const Kv* keys = args.kv_cache.as<Kv>();
  const Kv* values = keys + num_slots * num_kv_heads * head_dim;
  const float* key_scales = args.kv_scales.empty() ? nullptr : args.kv_scales.as<float>();
  for (int64_t token = begin; token < end; ++token) {
    const int64_t num_keys = context_len - (end - 1 - token);
    for (int64_t head = 0; head < num_heads; ++head) {
      const int64_t kv_head = head / (num_heads / num_kv_heads);
      const auto vector = [&](const Kv* from, const float* scales, int64_t j) {
        const int64_t slot = blocks[j / block_size] * block_size + j % block_size;
        const int64_t row = slot * num_kv_heads + kv_head;
        const double scale = scales == nullptr ? 1.0 : scales[row];
        return [=](int64_t d) { return scale * ToDouble(from[row * head_dim + d]); };
      };
      const float* value_scales =
          key_scales == nullptr ? nullptr : key_scales + num_slots * num_kv_heads;
      const int64_t row = (token * num_heads + head) * head_dim;
      Attend(
          args.query.as<A>() + row, head_dim, num_keys, args.scale,
          [&](int64_t j) { return vector(keys, key_scales, j); },
          [&](int64_t j) { return vector(values, value_scales, j); }, args.out.as<A>() + row);
    }
  }
}

template <typename A>
void AttendSegment(const VisionAttentionArgs& args, int64_t begin, int64_t end) {
  const int64_t num_heads = args.qkv.dim(2), head_dim = args.qkv.dim(3);
  const A* qkv = args.qkv.as<A>();
  const auto head_vector = [&](int64_t token, int which, int64_t head) {
    return qkv + ((token * 3 + which) * num_heads + head) * head_dim;
  };
  const auto vector = [&](int64_t token, int which, int64_t head) {
    return [from = head_vector(token, which, head)](int64_t d) { return ToDouble(from[d]); };
  };
  for (int64_t token = begin; token < end; ++token) {
    for (int64_t head = 0; head < num_heads; ++head) {
      Attend(
          head_vector(token, 0, head), head_dim, end - begin, args.scale,
          [&](int64_t j) { return vector(begin + j, 1, head); },
          [&](int64_t j) { return vector(begin + j, 2, head); },
          args.out.as<A>() + (token * num_heads + head) * head_dim);
    }
  }
}

}  // namespace

Status PagedAttention(const PagedAttentionArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckSequences(args));
  WithFloatType(args.query.dtype(), [&](auto a) {
    WithKvType(args.kv_cache.dtype(), [&](auto kv) {
      for (int64_t s = 0; s < args.block_table.dim(0); ++s) {
        AttendSequence<decltype(a), decltype(kv)>(args, s);
      }
    });
  });
  return OkStatus();
}

Status VisionAttention(const VisionAttentionArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckSegments(args.cu_seqlens, args.qkv.dim(0)));
  const int32_t* starts = args.cu_seqlens.as<int32_t>();
  WithFloatType(args.qkv.dtype(), [&](auto a) {
    for (int64_t s = 0; s + 1 < args.cu_seqlens.dim(0); ++s) {
      AttendSegment<decltype(a)>(args, starts[s], starts[s + 1]);
    }
  });
  return OkStatus();
}

}  // namespace longhand::kernels::reference
