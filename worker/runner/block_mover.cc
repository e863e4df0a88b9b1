#include "worker/runner/block_mover.h"

#include <array>
#include <cstring>
#include <utility>

#include "common/check.h"

namespace longhand::runner {
namespace {

// As many as CheckPlan lets a plan have: no block is written twice by one list.
int64_t MaxPairs(int64_t num_blocks, int64_t num_host_blocks) {
  return num_host_blocks + 2 * num_blocks;
}

}  // namespace

Result<std::unique_ptr<BlockMover>> BlockMover::Create(std::vector<Layer> layers,
                                                       int64_t num_host_blocks,
                                                       kernels::Ops& ops,
                                                       const std::function<void()>& on_piece) {
  std::unique_ptr<BlockMover> mover(new BlockMover(ops));
  LONGHAND_CHECK(!layers.empty());
  const int64_t num_pairs = MaxPairs(layers.front().cache.dim(1), num_host_blocks);
  const size_t bytes = static_cast<size_t>(num_pairs) * sizeof(BlockCopy);
  LONGHAND_ASSIGN_OR_RETURN(mover->pairs_, ops.Allocate(bytes));
  LONGHAND_ASSIGN_OR_RETURN(mover->staged_pairs_, ops.AllocateStaging(bytes));
  for (const Layer& layer : layers) {
    LONGHAND_RETURN_IF_ERROR(mover->AddPlace(layer.cache, num_host_blocks));
    if (!layer.scales.empty()) {
      LONGHAND_RETURN_IF_ERROR(mover->AddPlace(layer.scales, num_host_blocks));
    }
    if (on_piece) on_piece();
  }
  return mover;
}

Status BlockMover::AddPlace(const TensorView& device, int64_t num_host_blocks) {
  Place place{.device = device};
  if (num_host_blocks > 0) {
    const size_t block_bytes = device.num_bytes() / static_cast<size_t>(2 * device.dim(1));
    auto memory = ops_.AllocateStaging(2 * static_cast<size_t>(num_host_blocks) * block_bytes);
    LONGHAND_RETURN_IF_ERROR(memory.status().WithContext("KV blocks in host memory"));
    place.memory = std::move(memory).value();
    void* data = place.memory->data();
    place.host =
        device.rank() == 5
            ? TensorView(data, device.dtype(),
                         {2, num_host_blocks, device.dim(2), device.dim(3), device.dim(4)})
            : TensorView(data, device.dtype(), {2, num_host_blocks, device.dim(2), device.dim(3)});
  }
  places_.push_back(std::move(place));
  return OkStatus();
}

int64_t BlockMover::WorkspaceBytes(const PlanLimits& limits) {
  return MaxPairs(limits.num_blocks, limits.num_host_blocks) *
         static_cast<int64_t>(sizeof(BlockCopy));
}

Status BlockMover::Run(const StepPlan& plan) {
  // A pair of the device's is a BlockCopy.
  static_assert(sizeof(BlockCopy) == 2 * sizeof(int32_t));
  const struct {
    const std::vector<BlockCopy>& copies;
    TensorView Place::* from;
    TensorView Place::* to;
  } lists[] = {{plan.swaps_out, &Place::device, &Place::host},
               {plan.swaps_in, &Place::host, &Place::device},
               {plan.block_copies, &Place::device, &Place::device}};
  size_t bytes = 0;
  for (const auto& list : lists) {
    if (list.copies.empty()) continue;
    const size_t size = list.copies.size() * sizeof(BlockCopy);
    LONGHAND_CHECK(bytes + size <= staged_pairs_->size_bytes());
    std::memcpy(static_cast<char*>(staged_pairs_->data()) + bytes, list.copies.data(), size);
    bytes += size;
  }
  if (bytes == 0) return OkStatus();
  LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(pairs_->data(), staged_pairs_->data(), bytes));
  auto* pairs = static_cast<char*>(pairs_->data());
  for (const auto& list : lists) {
    if (list.copies.empty()) continue;
    const TensorView view(pairs, DType::kI32, {static_cast<int64_t>(list.copies.size()), 2});
    for (const Place& place : places_) {
      LONGHAND_RETURN_IF_ERROR(
          ops_.CopyBlocks({.from = place.*list.from, .to = place.*list.to, .pairs = view}));
    }
    pairs += view.num_bytes();
  }
  return OkStatus();
}

}  // namespace longhand::runner
