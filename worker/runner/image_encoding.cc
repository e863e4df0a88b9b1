#include "worker/runner/image_encoding.h"

#include <algorithm>
#include <utility>

namespace longhand::runner {

Result<std::unique_ptr<ImageEncoding>> ImageEncoding::Create(const RunnerConfig& config,
                                                             const model::VisionWeights& weights,
                                                             int32_t rank,
                                                             int32_t tp_size,
                                                             kernels::Ops& ops) {
  std::unique_ptr<ImageEncoding> encoding(new ImageEncoding(config, rank, tp_size));
  if (config.encoder_cache_tokens == 0) return encoding;
  const DType activation = ops.ActivationDType(config.dtype);
  LONGHAND_ASSIGN_OR_RETURN(encoding->encoder_,
                            model::VisionEncoder::Create(config.model, weights, activation,
                                                         config.max_patches_per_image, ops));
  LONGHAND_ASSIGN_OR_RETURN(encoding->cache_, model::AllocateTensor(ops, activation,
                                                                    {config.encoder_cache_tokens,
                                                                     config.model.hidden_size}));
  return encoding;
}

Status ImageEncoding::Put(const ContentHash& hash,
                          int32_t height,
                          int32_t width,
                          std::span<const uint8_t> pixels) {
  if (encoder_ == nullptr) return FailedPrecondition("this worker has no room for images");
  LONGHAND_RETURN_IF_ERROR(encoder_->CheckSize(height, width));
  const int64_t bytes = int64_t{height} * width * 3;
  if (static_cast<int64_t>(pixels.size()) != bytes) {
    return InvalidArgument("an image of ", height, " x ", width, " pixels came with ",
                           pixels.size(), " bytes; it has ", bytes);
  }
  return images_.Put(hash, height, width, pixels);
}

// Every rank first encodes its own images, so that they run side by side; then the finished ones
// are passed round in the order of the plan.
Status ImageEncoding::Encode(const StepPlan& plan, comm::Communicator& communicator) {
  for (const EncodeImageItem& item : plan.images) {
    const bool finished = item.layer_end == vision_depth_;
    in_hand_[static_cast<size_t>(item.rank)] = {item.image, finished ? 0 : item.layer_end,
                                                item.adapter};
    if (item.rank == rank_) LONGHAND_RETURN_IF_ERROR(EncodeOwn(item));
  }
  for (const EncodeImageItem& item : plan.images) {
    if (item.layer_end != vision_depth_) continue;
    LONGHAND_RETURN_IF_ERROR(communicator.Broadcast(Rows(item), item.rank));
  }
  return OkStatus();
}

Status ImageEncoding::EncodeOwn(const EncodeImageItem& item) {
  const ImageStore::Image* image = images_.Find(item.image);
  if (item.layer_begin == 0) {
    LONGHAND_RETURN_IF_ERROR(
        encoder_->Begin(image->pixels.data(), image->height, image->width, item.adapter));
  }
  LONGHAND_RETURN_IF_ERROR(encoder_->RunBlocks(item.layer_begin, item.layer_end));
  if (item.layer_end < vision_depth_) return OkStatus();
  return encoder_->Finish(Rows(item));
}

TensorView ImageEncoding::Rows(const EncodeImageItem& item) const {
  const ImageStore::Image* image = images_.Find(item.image);
  return cache_.view.Slice(item.cache_row, encoder_->NumTokens(image->height, image->width));
}

void ImageEncoding::Forget(const std::vector<ContentHash>& images) {
  for (const ContentHash& hash : images) {
    images_.Remove(hash);
    for (ImageInHand& hand : in_hand_) {
      if (hand.image == hash) hand = {};
    }
  }
}

void ImageEncoding::ForgetAll() {
  images_.Clear();
  std::fill(in_hand_.begin(), in_hand_.end(), ImageInHand{});
}

void ImageEncoding::SetAdapters(model::Adapters* adapters) {
  if (encoder_ != nullptr) encoder_->SetAdapters(adapters);
}

void ImageEncoding::SetObserver(model::Observer observer) {
  if (encoder_ != nullptr) encoder_->SetObserver(std::move(observer));
}

}  // namespace longhand::runner
