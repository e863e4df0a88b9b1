// Which of decode attention's kernels a device gets, by trying both: the one by wgmma where it
// writes the bits of the one by warps and takes less time.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/cuda/attention_trial.h"
#include "kernels/cuda/decode_kernels.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int64_t kHeadDim = DecodeGroupTypes::kHeadDim, kBlockSize = 16;

struct Shape {
  int64_t heads, kv_heads;
  std::vector<int32_t> context_lens;
  bool shares;  // all but a part of the shortest context, as one prefix group
};

class Trial : public AttentionTrial {
 public:
  using AttentionTrial::AttentionTrial;

  // All sequences of a shape read the same KV blocks. Contexts end within a tile, at its end and
  // behind it; eight, seven and one rows, and more than eight, of one sequence or of two.
  Result<bool> SameBits() {
    const std::vector<int32_t> many = {700, 1, 17, 63, 64, 65, 256, 300};
    for (const Shape& shape :
         {Shape{16, 2, many, false}, Shape{7, 1, many, false}, Shape{2, 2, many, false},
          Shape{12, 1, many, false}, Shape{8, 1, {600, 530}, true}}) {
      LONGHAND_ASSIGN_OR_RETURN(PagedAttentionArgs args, Make(shape, false));
      const int64_t seqs = args.query.dim(0);
      const auto run = [&](auto* decode) {
        return Run({seqs, shape.heads, kHeadDim}, args, [&](Context& context, const auto& call) {
          return decode(context, call, Share::kAll);
        });
      };
      LONGHAND_ASSIGN_OR_RETURN(const auto by_warps, run(&PagedDecodeByWarps));
      LONGHAND_ASSIGN_OR_RETURN(const auto by_groups, run(&PagedDecodeByGroups));
      if (by_warps != by_groups) return false;
    }
    return true;
  }

  // Microseconds of both, by warps first: medians for 64 sequences of 1024 keys, 256 MiB of them.
  Result<std::array<double, 2>> Times() {
    constexpr int kRounds = 5;
    const Shape shape{64, 8, std::vector<int32_t>(64, 1024), false};
    LONGHAND_ASSIGN_OR_RETURN(PagedAttentionArgs args, Make(shape, true));
    LONGHAND_ASSIGN_OR_RETURN(args.out,
                              Zeros(DType::kBf16, {args.query.dim(0), shape.heads, kHeadDim}));
    std::array<std::vector<double>, 2> times;
    for (int round = 0; round <= kRounds; ++round) {
      for (size_t i = 0; i < 2; ++i) {
        LONGHAND_ASSIGN_OR_RETURN(const double us, TimeOf(context().stream, [&] {
                                    return (i == 0 ? PagedDecodeByWarps : PagedDecodeByGroups)(
                                        context(), args, Share::kAll);
                                  }));
        if (round > 0) times[i].push_back(us);  // the first is for loading code
      }
    }
    for (auto& of : times) std::nth_element(of.begin(), of.begin() + kRounds / 2, of.end());
    return std::array<double, 2>{times[0][kRounds / 2], times[1][kRounds / 2]};
  }

 private:
  // Each sequence with KV blocks of its own, or all with the same.
  Result<PagedAttentionArgs> Make(const Shape& shape, bool apart) {
    const auto seqs = static_cast<int64_t>(shape.context_lens.size());
    const int64_t longest = *std::max_element(shape.context_lens.begin(), shape.context_lens.end());
    const int64_t table_blocks = CeilDiv(longest, kBlockSize);
    const int64_t blocks = apart ? seqs * table_blocks : table_blocks;
    // Neighbours in the table lie apart.
    std::vector<int32_t> table(static_cast<size_t>(seqs * table_blocks));
    for (int64_t i = 0; i < seqs * table_blocks; ++i) {
      constexpr int64_t kStride = 7919;
      table[static_cast<size_t>(i)] = static_cast<int32_t>(i % blocks * kStride % blocks);
    }
    std::vector<int32_t> starts(static_cast<size_t>(seqs) + 1);
    std::iota(starts.begin(), starts.end(), 0);
    PagedAttentionArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.query, Values({seqs, shape.heads, kHeadDim}));
    const std::initializer_list<int64_t> cache = {2, blocks, kBlockSize, shape.kv_heads, kHeadDim};
    LONGHAND_ASSIGN_OR_RETURN(args.kv_cache, apart ? Zeros(DType::kBf16, cache) : Values(cache));
    LONGHAND_ASSIGN_OR_RETURN(args.block_table, Numbers(table, {seqs, table_blocks}));
    LONGHAND_ASSIGN_OR_RETURN(args.cu_query_lens, Numbers(starts, {seqs + 1}));
    LONGHAND_ASSIGN_OR_RETURN(args.context_len, Numbers(shape.context_lens, {seqs}));
    if (shape.shares) {
      const int32_t shortest =
          *std::min_element(shape.context_lens.begin(), shape.context_lens.end());
      const auto shared = static_cast<int32_t>((shortest - 1) / kBlockSize * kBlockSize);
      std::vector<int32_t> rows;
      for (int32_t seq = 0; seq < seqs; ++seq) {
        rows.insert(rows.end(), {seq, 0, static_cast<int32_t>(seqs), shared});
      }
      LONGHAND_ASSIGN_OR_RETURN(args.prefix_groups, Numbers(rows, {seqs, 4}));
    }
    args.scale = 1 / std::sqrt(static_cast<float>(kHeadDim));
    return args;
  }
};

}  // namespace

void TryDecode(const Context& context, AttentionState& state) {
  const Result<bool> same = Trial(context).SameBits();
  // The emulation gets it whatever came out: there a difference is a fault, and is to show.
  state.decode_has_groups = !IsTimed();
  if (!same.ok() || !*same) {
    state.decode_choice =
        "decode attention by warps: " +
        (same.ok() ? std::string("wgmma sums in another order here") : same.status().ToString());
    return;
  }
  if (!context.stream.times_kernels) {
    state.decode_has_groups = true;
    return;
  }
  const Result<std::array<double, 2>> times = Trial(context).Times();
  if (!times.ok()) {
    state.decode_choice =
        "decode attention by warps: by warpgroups it was not timed: " + times.status().ToString();
    return;
  }
  const auto [by_warps, by_groups] = *times;
  state.decode_has_groups = by_groups < by_warps;
  std::ostringstream line;
  line << "decode attention by " << (state.decode_has_groups ? "warpgroups" : "warps")
       << "; measured (64 x 1024 keys): by warpgroups " << by_groups << ", by warps " << by_warps
       << " us";
  state.decode_choice = line.str();
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
