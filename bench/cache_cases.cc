// What the KV cache's blocks take beside attention over each sequence: copies, also to the host,
// and prefixes that sequences share.
#include <cmath>
#include <numeric>
#include <random>

#include "bench/kernel_cases.h"

namespace longhand::bench {
namespace {

constexpr DType kBf16 = DType::kBf16;
constexpr int64_t kHeadDim = 128, kBlockSize = 16;

enum class Where : uint8_t { kDevice, kToHost, kFromHost };

// One layer's blocks, as BlockMover copies them.
void Copies(CaseTimer& timer, const char* what, Where where, int64_t num_blocks, int64_t kv_heads) {
  kernels::Ops& ops = timer.ops();
  const int64_t block_bytes = 2 * kBlockSize * kv_heads * kHeadDim * 2;
  const Work work{
      .op = "CopyBlocks",
      .name = std::string(what) + ", " + std::to_string(num_blocks) + " blocks of " +
              std::to_string(kv_heads) + " heads",
      // Over the bus each goes once.
      .bytes = static_cast<double>(num_blocks * block_bytes) * (where == Where::kDevice ? 2 : 1)};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    std::vector<int32_t> to(static_cast<size_t>(num_blocks)), pairs;
    std::iota(to.begin(), to.end(), 0);
    std::shuffle(to.begin(), to.end(), std::mt19937(3));
    for (int32_t block = 0; block < num_blocks; ++block) {
      pairs.insert(pairs.end(), {block, to[static_cast<size_t>(block)]});
    }
    const auto cache = [&](bool on_host) {
      return on_host ? tensors.Staging(kBf16, {2, num_blocks, kBlockSize, kv_heads, kHeadDim})
                     : tensors.Zeros(kBf16, {2, num_blocks, kBlockSize, kv_heads, kHeadDim});
    };
    kernels::CopyBlocksArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.from, cache(where == Where::kFromHost));
    LONGHAND_ASSIGN_OR_RETURN(args.to, cache(where == Where::kToHost));
    LONGHAND_ASSIGN_OR_RETURN(args.pairs, tensors.Of(pairs, {num_blocks, 2}));
    return Enqueue([&ops, args] { return ops.CopyBlocks(args); });
  });
}

struct Crowd {
  int64_t heads, kv_heads, seqs, prefix, own;
};

// Decode of sequences that begin with the same blocks, in a group or as if they were strangers.
void SharedPrefix(CaseTimer& timer, const Crowd& crowd, bool in_group) {
  kernels::Ops& ops = timer.ops();
  const int64_t seqs = crowd.seqs, context = crowd.prefix + crowd.own;
  const auto keys =
      static_cast<double>(in_group ? crowd.prefix + seqs * crowd.own : seqs * context);
  const Work work{.op = "PagedAttention",
                  .name = "shared prefix: " + std::to_string(seqs) + " x 1, " +
                          std::to_string(crowd.prefix) + " keys shared and " +
                          std::to_string(crowd.own) + " own, " + std::to_string(crowd.heads) + "/" +
                          std::to_string(crowd.kv_heads) + " heads" +
                          (in_group ? ", read once" : ", read by each"),
                  .bytes = 4 * keys * static_cast<double>(crowd.kv_heads * kHeadDim),
                  .flops = 4.0 * static_cast<double>(seqs * context * kHeadDim * crowd.heads)};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    const int64_t shared = crowd.prefix / kBlockSize;
    const int64_t own = (crowd.own + kBlockSize - 1) / kBlockSize;
    const int64_t num_blocks = shared + seqs * own;
    std::vector<int32_t> ids(static_cast<size_t>(num_blocks)), table, groups, starts;
    std::iota(ids.begin(), ids.end(), 0);
    std::shuffle(ids.begin(), ids.end(), std::mt19937(5));
    for (int64_t s = 0; s < seqs; ++s) {
      table.insert(table.end(), ids.begin(), ids.begin() + shared);
      const auto first = ids.begin() + shared + s * own;
      table.insert(table.end(), first, first + own);
      for (const int64_t number : {s, int64_t{0}, seqs, crowd.prefix}) {
        groups.push_back(static_cast<int32_t>(number));
      }
    }
    for (int64_t s = 0; s <= seqs; ++s) starts.push_back(static_cast<int32_t>(s));
    const std::vector<int32_t> lens(static_cast<size_t>(seqs), static_cast<int32_t>(context));
    kernels::PagedAttentionArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.query, tensors.Random(kBf16, {seqs, crowd.heads, kHeadDim}));
    LONGHAND_ASSIGN_OR_RETURN(args.kv_cache, tensors.Random(kBf16, {2, num_blocks, kBlockSize,
                                                                    crowd.kv_heads, kHeadDim}));
    LONGHAND_ASSIGN_OR_RETURN(args.block_table, tensors.Of(table, {seqs, shared + own}));
    LONGHAND_ASSIGN_OR_RETURN(args.cu_query_lens, tensors.Of(starts, {seqs + 1}));
    LONGHAND_ASSIGN_OR_RETURN(args.context_len, tensors.Of(lens, {seqs}));
    if (in_group) {
      LONGHAND_ASSIGN_OR_RETURN(args.prefix_groups, tensors.Of(groups, {seqs, 4}));
    }
    args.scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
    LONGHAND_ASSIGN_OR_RETURN(args.out, tensors.Zeros(kBf16, {seqs, crowd.heads, kHeadDim}));
    return Enqueue([&ops, args] { return ops.PagedAttention(args); });
  });
}

}  // namespace

void CopyCases(CaseTimer& timer) {
  for (const int64_t kv_heads : {1, 4, 8}) {
    for (const int64_t real_blocks : {1, 64, 1024}) {
      const int64_t num_blocks = timer.Small(real_blocks, 3);
      Copies(timer, "on the device", Where::kDevice, num_blocks, kv_heads);
      Copies(timer, "to the host", Where::kToHost, num_blocks, kv_heads);
      Copies(timer, "from the host", Where::kFromHost, num_blocks, kv_heads);
    }
  }
}

void CascadeCases(CaseTimer& timer) {
  constexpr int64_t k = 1024;
  for (const Crowd& crowd : {Crowd{28, 4, 4, 8 * k, k},
                             {28, 4, 16, 8 * k, k},
                             {28, 4, 64, 8 * k, k},
                             {64, 8, 16, 8 * k, k},
                             {64, 8, 16, 32 * k, 256},
                             {8, 1, 64, 8 * k, k}}) {
    const Crowd sized{crowd.heads, crowd.kv_heads, timer.Small(crowd.seqs, 3),
                      timer.Small(crowd.prefix, 512), timer.Small(crowd.own, 20)};
    for (const bool in_group : {true, false}) SharedPrefix(timer, sized, in_group);
  }
}

}  // namespace longhand::bench
