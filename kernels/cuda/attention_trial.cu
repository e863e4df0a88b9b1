// Whether attention by wgmma writes mma.sync's bits on this device, by trying both. Where it does
// not, or while that is not known, all attention keeps to mma.sync: a row has the same bits in
// decode as in prefill.
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "common/split_mix.h"
#include "kernels/cuda/prefill_tiles.h"
#include "kernels/cuda/vision_segments.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// Two splits and a part of a third; rows of more than a block of each kernel.
constexpr int64_t kTokens = 200, kContext = 600, kBlockSize = 16;
constexpr int64_t kTableBlocks = (kContext + kBlockSize - 1) / kBlockSize;

class Trial {
 public:
  explicit Trial(Context& context) : context_(context) {}

  Result<bool> Paged() {
    constexpr int64_t kHeadDim = PrefillGroupTypes::kHeadDim;
    std::vector<int32_t> table(kTableBlocks);
    std::iota(table.rbegin(), table.rend(), 0);
    PagedAttentionArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.query, Values({kTokens, 1, kHeadDim}));
    LONGHAND_ASSIGN_OR_RETURN(args.kv_cache, Values({2, kTableBlocks, kBlockSize, 1, kHeadDim}));
    LONGHAND_ASSIGN_OR_RETURN(args.block_table, Numbers(table, {1, kTableBlocks}));
    LONGHAND_ASSIGN_OR_RETURN(args.cu_query_lens, Numbers({0, kTokens}, {2}));
    LONGHAND_ASSIGN_OR_RETURN(args.context_len, Numbers({kContext}, {1}));
    args.scale = 1 / std::sqrt(static_cast<float>(kHeadDim));
    LONGHAND_ASSIGN_OR_RETURN(const auto by_warps,
                              Run({kTokens, 1, kHeadDim}, args, &PagedPrefillByWarps));
    LONGHAND_ASSIGN_OR_RETURN(const auto by_groups,
                              Run({kTokens, 1, kHeadDim}, args, &PagedPrefillByGroups));
    return by_warps == by_groups;
  }

  Result<bool> Vision() {
    constexpr int64_t kHeadDim = VisionGroupTypes::kHeadDim;
    VisionAttentionArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.qkv, Values({kContext, 3, 1, kHeadDim}));
    LONGHAND_ASSIGN_OR_RETURN(args.cu_seqlens, Numbers({0, kContext}, {2}));
    args.scale = 1 / std::sqrt(static_cast<float>(kHeadDim));
    LONGHAND_ASSIGN_OR_RETURN(const auto by_warps,
                              Run({kContext, 1, kHeadDim}, args, &VisionByWarps));
    LONGHAND_ASSIGN_OR_RETURN(const auto by_groups,
                              Run({kContext, 1, kHeadDim}, args, &VisionByGroups));
    return by_warps == by_groups;
  }

 private:
  template <typename T>
  Result<TensorView> Put(const std::vector<T>& host,
                         DType dtype,
                         std::initializer_list<int64_t> shape) {
    const size_t bytes = host.size() * sizeof(T);
    LONGHAND_ASSIGN_OR_RETURN(auto buffer, AllocateMemory(context_.stream, bytes));
    buffers_.push_back(std::move(buffer));
    void* device = buffers_.back()->data();
    LONGHAND_RETURN_IF_ERROR(CopyToDevice(context_.stream, device, host.data(), bytes));
    LONGHAND_RETURN_IF_ERROR(WaitFor(context_.stream));
    return TensorView(device, dtype, shape);
  }
  Result<TensorView> Numbers(const std::vector<int32_t>& host,
                             std::initializer_list<int64_t> shape) {
    return Put(host, DType::kI32, shape);
  }
  // From 1/32 to 4, of both signs: their products' exponents differ, and so do the weights.
  Result<TensorView> Values(std::initializer_list<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    std::vector<uint16_t> host(static_cast<size_t>(count));
    for (uint16_t& value : host) {
      const uint64_t bits = SplitMix64(random_);
      value = static_cast<uint16_t>((bits & 0x807f) | (122 + (bits >> 16) % 7) << 7);
    }
    return Put(host, DType::kBf16, shape);
  }
  // Into memory that holds something else.
  template <typename Args>
  Result<std::vector<uint16_t>> Run(std::initializer_list<int64_t> shape,
                                    Args& args,
                                    Status (*enqueue)(Context&, const Args&)) {
    LONGHAND_ASSIGN_OR_RETURN(args.out, Values(shape));
    LONGHAND_RETURN_IF_ERROR(enqueue(context_, args));
    std::vector<uint16_t> result(static_cast<size_t>(args.out.num_elements()));
    LONGHAND_RETURN_IF_ERROR(CopyToHost(context_.stream, result.data(), args.out.data(),
                                        result.size() * sizeof(uint16_t)));
    LONGHAND_RETURN_IF_ERROR(WaitFor(context_.stream));
    return result;
  }

  Context& context_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  uint64_t random_ = 7;
};

}  // namespace

Status PrepareAttention(Context& context) {
  AttentionState& state = context.attention_state;
  if (state.is_tried || context.stream.recording) return OkStatus();
  if (context.stream.may_have_wgmma) {
    Trial trial(context);
    LONGHAND_ASSIGN_OR_RETURN(state.prefill_has_wgmma, trial.Paged());
    LONGHAND_ASSIGN_OR_RETURN(state.vision_has_wgmma, trial.Vision());
  }
  state.is_tried = true;
  return OkStatus();
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
