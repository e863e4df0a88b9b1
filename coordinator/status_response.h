// What GetStatus answers, from what the engines and the worker groups say of themselves.
#pragma once

#include <vector>

#include "coordinator/cluster/readiness.h"
#include "coordinator/cluster/worker_group.h"
#include "coordinator/engine/engine_stats.h"
#include "longhand/v1/cluster.pb.h"

namespace longhand {

struct GroupView {
  cluster::GroupStatus status;
  cluster::Readiness readiness;
  engine::EngineStats engine;
};

// At least one group.
v1::GetStatusResponse MakeStatusResponse(const std::vector<GroupView>& groups,
                                         const cluster::Readiness& readiness);

}  // namespace longhand
