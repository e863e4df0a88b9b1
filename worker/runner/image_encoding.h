// ImageEncoding: from a plan's pictures to rows of image embeddings, the same on every rank.
//
// Put() may be called from any thread, everything else from the executor thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/status.h"
#include "common/step_plan.h"
#include "kernels/ops.h"
#include "worker/comm/communicator.h"
#include "worker/model/device_tensor.h"
#include "worker/model/vision_encoder.h"
#include "worker/model/weights.h"
#include "worker/runner/image_store.h"
#include "worker/runner/plan_check.h"
#include "worker/runner/runner_config.h"

namespace longhand::runner {

class ImageEncoding {
 public:
  // `weights` are borrowed. Without room in `config` for embeddings there are no images.
  static Result<std::unique_ptr<ImageEncoding>> Create(const RunnerConfig& config,
                                                       const model::VisionWeights& weights,
                                                       int32_t rank,
                                                       int32_t tp_size,
                                                       kernels::Ops& ops);

  // As ModelRunner::PutImage().
  Status Put(const ContentHash& hash,
             int32_t height,
             int32_t width,
             std::span<const uint8_t> pixels);

  // Each rank's own images, and then all that are finished, to every rank.
  Status Encode(const StepPlan& plan, comm::Communicator& communicator);
  void Forget(const std::vector<ContentHash>& images);
  void ForgetAll();

  const ImageStore& images() const { return images_; }
  const std::vector<ImageInHand>& in_hand() const { return in_hand_; }
  const model::VisionEncoder* encoder() const { return encoder_.get(); }
  TensorView embeddings() const { return cache_.view; }
  void SetObserver(model::Observer observer);
  void SetAdapters(model::Adapters* adapters);

 private:
  ImageEncoding(const RunnerConfig& config, int32_t rank, int32_t tp_size)
      : vision_depth_(static_cast<int32_t>(config.model.vision.depth)),
        rank_(rank),
        images_(config.image_bytes),
        in_hand_(static_cast<size_t>(tp_size)) {}

  Status EncodeOwn(const EncodeImageItem& item);
  TensorView Rows(const EncodeImageItem& item) const;

  const int32_t vision_depth_;
  const int32_t rank_;
  std::unique_ptr<model::VisionEncoder> encoder_;  // null: no images
  model::DeviceTensor cache_;                      // [encoder_cache_tokens, hidden] A
  ImageStore images_;
  std::vector<ImageInHand> in_hand_;  // [tp_size]
};

}  // namespace longhand::runner
