// Attention at the heads of 7B, of 72B and of its ranks of 8; the image encoder's.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <sstream>

#include "bench/kernel_cases.h"

namespace longhand::bench {
namespace {

constexpr DType kBf16 = DType::kBf16, kF32 = DType::kF32;
constexpr int64_t kHeadDim = 128;

// A token's keys, or values, of one head: codes have a scale of four bytes.
double BytesOfRow(DType kv) { return kv == kBf16 ? 2.0 * kHeadDim : kHeadDim + 4.0; }

void Attention(CaseTimer& timer,
               const char* what,
               DType kv,
               int64_t heads,
               int64_t kv_heads,
               int64_t block_size,
               int64_t seqs,
               int64_t query_len,
               int64_t context_len) {
  kernels::Ops& ops = timer.ops();
  const auto n = static_cast<double>(seqs);
  const auto query = static_cast<double>(query_len), context = static_cast<double>(context_len);
  const double pairs = n * (query * context - query * (query - 1) / 2);
  std::ostringstream name;
  name << what << " " << seqs << " x " << query_len << ", context " << context_len << ", " << heads
       << "/" << kv_heads << " heads, block " << block_size;
  Work work{.op = "PagedAttention",
            .name = name.str(),
            .bytes = 2 * n * context * static_cast<double>(kv_heads) * BytesOfRow(kv),
            .flops = 4 * pairs * kHeadDim * static_cast<double>(heads),
            .shape = Members({{"seqs", seqs},
                              {"query", query_len},
                              {"context", context_len},
                              {"heads", heads},
                              {"kv_heads", kv_heads},
                              {"block_size", block_size}}),
            .variant = kv == DType::kBf16 ? ""
                       : kv == DType::kI8 ? "int8"
                                          : "fp8"};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    const int64_t blocks = (context_len + block_size - 1) / block_size;
    std::vector<int32_t> table(static_cast<size_t>(seqs * blocks));
    std::iota(table.begin(), table.end(), 0);
    std::shuffle(table.begin(), table.end(), std::mt19937_64(5));
    std::vector<int32_t> starts;
    for (int64_t s = 0; s <= seqs; ++s) starts.push_back(static_cast<int32_t>(s * query_len));
    const std::vector<int32_t> lens(static_cast<size_t>(seqs), static_cast<int32_t>(context_len));
    kernels::PagedAttentionArgs args;
    const int64_t tokens = seqs * query_len;
    LONGHAND_ASSIGN_OR_RETURN(args.query, tensors.Random(kBf16, {tokens, heads, kHeadDim}));
    if (kv == DType::kBf16) {
      LONGHAND_ASSIGN_OR_RETURN(
          args.kv_cache, tensors.Random(kv, {2, seqs * blocks, block_size, kv_heads, kHeadDim}));
    } else {
      LONGHAND_ASSIGN_OR_RETURN(
          args.kv_cache,
          tensors.RandomCodes(kv, {2, seqs * blocks, block_size, kv_heads, kHeadDim}));
      LONGHAND_ASSIGN_OR_RETURN(
          args.kv_scales, tensors.Random(kF32, {2, seqs * blocks, block_size, kv_heads}, 0.01f));
    }
    LONGHAND_ASSIGN_OR_RETURN(args.block_table, tensors.Of(table, {seqs, blocks}));
    LONGHAND_ASSIGN_OR_RETURN(args.cu_query_lens, tensors.Of(starts, {seqs + 1}));
    LONGHAND_ASSIGN_OR_RETURN(args.context_len, tensors.Of(lens, {seqs}));
    args.scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
    LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {tokens, heads, kHeadDim}));
    return Enqueue([&ops, args] { return ops.PagedAttention(args); });
  });
}

struct Batch {
  int64_t seqs, context;
};

void DecodeGrid(CaseTimer& timer,
                DType kv,
                int64_t heads,
                int64_t kv_heads,
                int64_t block_size,
                const std::vector<Batch>& batches) {
  for (const Batch& batch : batches) {
    Attention(timer, "decode", kv, heads, kv_heads, block_size, timer.Small(batch.seqs, 2), 1,
              timer.Small(batch.context, 300));
  }
}

}  // namespace

void DecodeCases(CaseTimer& timer) {
  const auto grid = [&](int64_t heads, int64_t kv_heads, int64_t block_size,
                        const std::vector<Batch>& batches) {
    DecodeGrid(timer, kBf16, heads, kv_heads, block_size, batches);
  };
  constexpr int64_t k = 1024;
  grid(64, 8, 16,
       {{1, k},
        {1, 8 * k},
        {1, 32 * k},
        {1, 128 * k},
        {4, k},
        {4, 4 * k},
        {16, k},
        {16, 4 * k},
        {16, 8 * k},
        {64, k},
        {64, 4 * k},
        {64, 8 * k},
        {256, k}});
  grid(64, 8, 32, {{1, 8 * k}, {16, 4 * k}, {64, 4 * k}});
  grid(28, 4, 16,
       {{1, k},
        {1, 8 * k},
        {1, 32 * k},
        {1, 128 * k},
        {4, 4 * k},
        {16, k},
        {16, 8 * k},
        {64, k},
        {64, 8 * k},
        {256, 4 * k}});
  grid(8, 1, 16,
       {{1, 8 * k}, {1, 128 * k}, {16, 8 * k}, {64, k}, {64, 8 * k}, {256, k}, {256, 8 * k}});
}

void QuantizedDecodeCases(CaseTimer& timer) {
  constexpr int64_t k = 1024;
  for (const DType kv : {DType::kI8, DType::kF8E4M3}) {
    DecodeGrid(timer, kv, 64, 8, 16,
               {{1, 8 * k}, {1, 128 * k}, {16, 4 * k}, {64, 4 * k}, {64, 8 * k}});
    DecodeGrid(timer, kv, 28, 4, 16, {{1, 8 * k}, {16, 8 * k}, {64, 8 * k}});
    DecodeGrid(timer, kv, 8, 1, 16, {{16, 8 * k}, {64, 8 * k}, {256, 8 * k}});
  }
}

void PrefillCases(CaseTimer& timer) {
  constexpr int64_t k = 1024;
  struct Chunk {
    int64_t heads, kv_heads, seqs, query, context;
  };
  for (const Chunk& chunk : {Chunk{28, 4, 1, 2 * k, 2 * k},
                             {28, 4, 1, 4 * k, 4 * k},
                             {28, 4, 1, 8 * k, 8 * k},
                             {28, 4, 1, 2 * k, 32 * k},
                             {64, 8, 1, 4 * k, 4 * k},
                             {64, 8, 1, 8 * k, 8 * k},
                             {8, 1, 1, 8 * k, 8 * k},
                             {8, 1, 1, 2 * k, 32 * k}}) {
    Attention(timer, "prefill", kBf16, chunk.heads, chunk.kv_heads, 16, chunk.seqs,
              timer.Small(chunk.query, 70), timer.Small(chunk.context, 300));
  }
}

void VisionCases(CaseTimer& timer) {
  kernels::Ops& ops = timer.ops();
  struct Tower {
    int64_t patches, segment;
  };
  for (const Tower& tower : {Tower{5184, 64}, {5184, 5184}, {4 * 5184, 5184}, {16 * 5184, 64}}) {
    const int64_t patches = timer.Small(tower.patches, 128),
                  segment = timer.Small(tower.segment, 64);
    const double pairs = static_cast<double>(patches) * static_cast<double>(segment);
    Work work{.op = "VisionAttention",
              .name = std::to_string(patches) + " patches in segments of " +
                      std::to_string(segment) + ", 16 heads of 80",
              .bytes = static_cast<double>(patches) * 16 * 80 * 4 * 2,
              .flops = 4 * pairs * 16 * 80,
              .shape = Members({{"patches", patches}, {"segment", segment}})};
    timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
      std::vector<int32_t> starts;
      for (int64_t start = 0; start <= patches; start += segment) {
        starts.push_back(static_cast<int32_t>(start));
      }
      kernels::VisionAttentionArgs args;
      LONGHAND_ASSIGN_OR_RETURN(args.qkv, tensors.Random(kBf16, {patches, 3, 16, 80}));
      LONGHAND_ASSIGN_OR_RETURN(args.cu_seqlens,
                                tensors.Of(starts, {static_cast<int64_t>(starts.size())}));
      args.scale = 1.0f / std::sqrt(80.0f);
      LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {patches, 16, 80}));
      return Enqueue([&ops, args] { return ops.VisionAttention(args); });
    });
  }
}

}  // namespace longhand::bench
