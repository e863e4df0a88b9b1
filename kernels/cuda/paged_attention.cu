// Attention of new tokens over the paged KV cache: chooses the kernels.
//
// Lengths are in device memory, and the host does not wait for them. When there are as many tokens
// as sequences, all is decode: one kernel takes every sequence, whatever its length. Otherwise
// decode takes the sequences with one new token and prefill the others, each by what it reads.
#include "kernels/cuda/paged_attention.h"

namespace longhand::kernels::LONGHAND_DEVICE {

Status PagedAttention(Context& context, const PagedAttentionArgs& args) {
  if (args.query.num_elements() == 0) return OkStatus();
  LONGHAND_RETURN_IF_ERROR(CheckAligned16("query", args.query));
  LONGHAND_RETURN_IF_ERROR(CheckAligned16("kv_cache", args.kv_cache));
  LONGHAND_RETURN_IF_ERROR(CheckAligned16("out", args.out));
  LONGHAND_RETURN_IF_ERROR(CheckAligned16("prefix_groups", args.prefix_groups));
  const bool all_decode = args.query.dim(0) == args.block_table.dim(0);
  if (all_decode) return PagedDecode(context, args, Share::kAll);
  LONGHAND_RETURN_IF_ERROR(PagedPrefill(context, args));
  if (args.block_table.dim(0) == 1) return OkStatus();
  return PagedDecode(context, args, Share::kDecode);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
