// The one place where StepPlan and StepResult meet their wire form.
#pragma once

#include "common/step_plan.h"
#include "longhand/worker/v1/worker.pb.h"

namespace longhand {

void ToWire(const StepPlan& plan, worker::v1::ExecuteStepRequest* wire);
void ToWire(const StepResult& result, worker::v1::ExecuteStepResponse* wire);
// kInvalidArgument when a content hash does not have 32 bytes.
Result<StepPlan> FromWire(const worker::v1::ExecuteStepRequest& wire);
StepResult FromWire(const worker::v1::ExecuteStepResponse& wire);

std::string ToWire(const ContentHash& hash);
Result<ContentHash> ContentHashFromWire(const std::string& bytes);

}  // namespace longhand
