// What GetStatus answers, from what the engine and the worker group say of themselves.
#pragma once

#include "coordinator/cluster/readiness.h"
#include "coordinator/cluster/worker_group.h"
#include "coordinator/engine/engine_stats.h"
#include "longhand/v1/cluster.pb.h"

namespace longhand {

v1::GetStatusResponse MakeStatusResponse(const engine::EngineStats& engine,
                                         const cluster::GroupStatus& group,
                                         const cluster::Readiness& readiness);

}  // namespace longhand
