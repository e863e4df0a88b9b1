// CheckPlan: whether a plan can be executed. The coordinator is trusted, and still a wrong plan
// must be a Status and not a read out of bounds. All ranks know the same, so all come to the same
// answer.
#pragma once

#include <cstdint>
#include <vector>

#include "common/status.h"
#include "common/step_plan.h"
#include "worker/model/adapters.h"
#include "worker/model/vision_encoder.h"
#include "worker/runner/image_store.h"
#include "worker/runner/sequence_state.h"

namespace longhand::runner {

// The image that a rank is encoding, and how far it is.
struct ImageInHand {
  ContentHash image{};
  int32_t next_layer = 0;  // 0: none
  int32_t adapter = -1;
};

struct PlanLimits {
  int64_t num_blocks = 0;
  int64_t num_host_blocks = 0;
  int64_t block_size = 0;
  int64_t max_num_batched_tokens = 0;
  int64_t max_num_seqs = 0;
  int64_t max_model_len = 0;
  int64_t vocab_size = 0;
  int64_t encoder_cache_tokens = 0;
  int32_t vision_depth = 0;
  int32_t tp_size = 1;
  int64_t max_loras = 0;
};

// What the runner knows before the step.
struct PlanContext {
  const PlanLimits& limits;
  const SequenceStates& sequences;
  const ImageStore& images;
  const std::vector<ImageInHand>& in_hand;  // [tp_size]
  const model::VisionEncoder* encoder;      // null: no images
  const model::Adapters* adapters = nullptr;  // null: there are none
};

// kInvalidArgument or kFailedPrecondition naming the sequence or image, what was found and what is
// allowed.
Status CheckPlan(const StepPlan& plan, const PlanContext& context);

}  // namespace longhand::runner
