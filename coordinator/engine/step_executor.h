// StepExecutor and GroupListener: the engine's two-way border with a worker group.
// coordinator/cluster implements the former over gRPC, the engine the latter with its mailbox.
#pragma once

#include <cstdint>

#include "common/status.h"
#include "common/step_plan.h"
#include "coordinator/engine/config.h"
#include "coordinator/engine/request.h"

namespace longhand::engine {

// Called on the engine thread; nothing here waits. What goes wrong comes back as
// GroupListener::OnGroupDown. Calls for an epoch that is over do nothing.
class StepExecutor {
 public:
  virtual ~StepExecutor() = default;

  // Runs the plan on every rank, after those sent before it. A plan may hold images without chunks,
  // or nothing but releases; it has a result all the same.
  virtual void Execute(StepPlan plan) = 0;

  // Sends resized pixels to every rank: one encodes them, the others learn the image's size.
  // OnImageReady says when all have them. They hold them until a plan lists the image in
  // released_images, which happens exactly once: after its last layer has run, or when nobody wants
  // it any more. Held at once: at most what fills the encoder cache.
  virtual void PutImage(int64_t epoch, const ImageInput& image) = 0;

  // The engine cannot use what the group answered: it has dropped the epoch and waits for a new
  // one.
  virtual void AbandonGroup(int64_t epoch, const Status& why) = 0;
};

// Any thread. Messages of an epoch that is over are ignored.
class GroupListener {
 public:
  virtual ~GroupListener() = default;

  // A group is formed, with empty caches. Epochs rise.
  virtual void OnGroupUp(int64_t epoch, const GroupShape& shape) = 0;
  virtual void OnGroupDown(int64_t epoch, const Status& why) = 0;
  virtual void OnImageReady(int64_t epoch, const ContentHash& image) = 0;
  // Once for each plan, in step order, when all ranks have answered: rank 0's result, with the
  // first rank's error if any failed. `sequences` holds every chunk that samples or scores; others
  // may be left out.
  virtual void OnStepResult(StepResult result) = 0;
};

}  // namespace longhand::engine
