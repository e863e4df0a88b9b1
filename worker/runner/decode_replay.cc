#include "worker/runner/decode_replay.h"

#include <algorithm>
#include <utility>

namespace longhand::runner {

bool DecodeReplay::Takes(const StepPlan& plan, const comm::Communicator& communicator) const {
  if (!is_on_ || !communicator.CanBeRecorded(largest_exchange_bytes_)) return false;
  return std::all_of(plan.chunks.begin(), plan.chunks.end(), [](const SequenceChunk& chunk) {
    return chunk.token_ids.size() == 1 && chunk.sample && chunk.image_spans.empty() &&
           chunk.score_token_ids.empty();
  });
}

Result<kernels::VocabShard> DecodeReplay::Run(const DecodeShape& shape, const Enqueue& enqueue) {
  Step& step = steps_[shape];
  step.last_run = ++num_runs_;
  if (step.has_run && step.recording == nullptr) Record(enqueue, &step);
  if (step.recording != nullptr) {
    LONGHAND_RETURN_IF_ERROR(ops_.Replay(*step.recording));
  } else {
    LONGHAND_RETURN_IF_ERROR(enqueue(&step.logits));
  }
  step.has_run = true;
  return step.logits;
}

// A step that cannot be recorded runs as it is, and so do all from there on.
void DecodeReplay::Record(const Enqueue& enqueue, Step* step) {
  if (!can_record_) return;
  MakeRoomForOneMore();
  auto recording = ops_.Record([&] { return enqueue(&step->logits); });
  if (recording.ok()) {
    step->recording = std::move(recording).value();
    return;
  }
  can_record_ = false;
  log_("decode steps run without graphs: recording failed: " + recording.status().message());
}

void DecodeReplay::MakeRoomForOneMore() {
  size_t num_recordings = 0;
  Step* oldest = nullptr;
  for (auto& [shape, step] : steps_) {
    if (step.recording == nullptr) continue;
    ++num_recordings;
    if (oldest == nullptr || step.last_run < oldest->last_run) oldest = &step;
  }
  if (num_recordings == kMaxRecordings) oldest->recording.reset();
}

}  // namespace longhand::runner
