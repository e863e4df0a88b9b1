// Attention: the decoder's over the paged KV cache (causal, grouped query heads), the ViT's inside
// segments.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/host_checks.h"
#include "kernels/reference/element.h"
#include "kernels/reference/reference_ops.h"

namespace longhand::kernels::reference {
namespace {

// Vectors of one head, [count, head_dim] each.
struct HeadVectors {
  std::vector<double> keys, values;
};

// Sums of every eighth product, then theirs: eight times as quick as one chain.
double Dot(const double* a, const double* b, int64_t n) {
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int k = 0; k < 8; ++k) sums[k] += a[i + k] * b[i + k];
  }
  for (; i < n; ++i) sums[i % 8] += a[i] * b[i];
  return std::accumulate(sums, sums + 8, 0.0);
}

// One query over the first num_keys keys: out = softmax(scale * query . key) * value.
template <typename A>
void Attend(const A* query,
            int64_t head_dim,
            int64_t num_keys,
            double scale,
            const HeadVectors& vectors,
            A* out) {
  std::vector<double> q(static_cast<size_t>(head_dim)), sums(static_cast<size_t>(head_dim));
  std::transform(query, query + head_dim, q.begin(), [](A x) { return ToDouble(x); });
  std::vector<double> weights(static_cast<size_t>(num_keys));
  double max = -INFINITY;
  for (int64_t j = 0; j < num_keys; ++j) {
    weights[j] = Dot(q.data(), vectors.keys.data() + j * head_dim, head_dim) * scale;
    max = std::max(max, weights[j]);
  }
  double total = 0;
  for (double& weight : weights) total += weight = std::exp(weight - max);
  for (int64_t j = 0; j < num_keys; ++j) {
    const double* value = vectors.values.data() + j * head_dim;
    for (int64_t d = 0; d < head_dim; ++d) sums[d] += weights[j] * value[d];
  }
  for (int64_t d = 0; d < head_dim; ++d) out[d] = A(static_cast<float>(sums[d] / total));
}

// What the cache has of a sequence.
template <typename Kv>
HeadVectors ReadCache(const PagedAttentionArgs& args,
                      const int32_t* blocks,
                      int64_t num_keys,
                      int64_t kv_head) {
  const int64_t block_size = args.kv_cache.dim(2), num_kv_heads = args.kv_cache.dim(3);
  const int64_t num_slots = args.kv_cache.dim(1) * block_size, head_dim = args.query.dim(2);
  HeadVectors vectors;
  for (std::vector<double>* out : {&vectors.keys, &vectors.values}) {
    const int64_t first_slot = out == &vectors.keys ? 0 : num_slots;
    for (int64_t j = 0; j < num_keys; ++j) {
      const int64_t slot = blocks[j / block_size] * block_size + j % block_size;
      const int64_t row = (first_slot + slot) * num_kv_heads + kv_head;
      const double scale = args.kv_scales.empty() ? 1.0 : args.kv_scales.as<float>()[row];
      const Kv* from = args.kv_cache.as<Kv>() + row * head_dim;
      for (int64_t d = 0; d < head_dim; ++d) out->push_back(scale * ToDouble(from[d]));
    }
  }
  return vectors;
}

template <typename A, typename Kv>
void AttendSequence(const PagedAttentionArgs& args, int64_t s) {
  const int64_t num_heads = args.query.dim(1), head_dim = args.query.dim(2);
  const int64_t group_size = num_heads / args.kv_cache.dim(3);
  const int32_t* blocks = args.block_table.as<int32_t>() + s * args.block_table.dim(1);
  const int64_t begin = args.cu_query_lens.as<int32_t>()[s];
  const int64_t end = args.cu_query_lens.as<int32_t>()[s + 1];
  const int64_t context_len = args.context_len.as<int32_t>()[s];
  if (begin == end) return;
  HeadVectors vectors;
  for (int64_t head = 0; head < num_heads; ++head) {
    if (head % group_size == 0)
      vectors = ReadCache<Kv>(args, blocks, context_len, head / group_size);
    for (int64_t token = begin; token < end; ++token) {
      const int64_t row = (token * num_heads + head) * head_dim;
      Attend(args.query.as<A>() + row, head_dim, context_len - (end - 1 - token), args.scale,
             vectors, args.out.as<A>() + row);
    }
  }
}

template <typename A>
void AttendSegment(const VisionAttentionArgs& args, int64_t begin, int64_t end) {
  const int64_t num_heads = args.qkv.dim(2), head_dim = args.qkv.dim(3);
  const auto vector = [&](int64_t token, int which, int64_t head) {
    return args.qkv.as<A>() + ((token * 3 + which) * num_heads + head) * head_dim;
  };
  for (int64_t head = 0; head < num_heads; ++head) {
    HeadVectors vectors;
    for (int64_t token = begin; token < end; ++token) {
      for (int64_t d = 0; d < head_dim; ++d) {
        vectors.keys.push_back(ToDouble(vector(token, 1, head)[d]));
        vectors.values.push_back(ToDouble(vector(token, 2, head)[d]));
      }
    }
    for (int64_t token = begin; token < end; ++token) {
      Attend(vector(token, 0, head), head_dim, end - begin, args.scale, vectors,
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
