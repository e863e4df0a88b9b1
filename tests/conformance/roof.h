// What the machine can do at best, measured in the same run as the operations: read bandwidth and
// f32 multiply-adds.
#pragma once

#include <vector>

#include "tests/conformance/runner.h"

namespace longhand::conformance {

// Two records with op "roof". Threads are pinned, as in the pool; each reads 256 MiB of its own.
std::vector<Record> MeasureRoof(int num_threads);

}  // namespace longhand::conformance
