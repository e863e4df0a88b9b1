// The backends that this program was built with.
#pragma once

#include <cstdint>
#include <string>

#include "common/status.h"
#include "tests/conformance/runner.h"

namespace longhand::conformance {

// kUnimplemented for a backend that is not built in, kInvalidArgument for a name that is none,
// kUnavailable without its device. The emulated backend runs threads in order and has a twin that
// does not or, with a schedule seed other than 0, runs them as that says. A GPU chooses kernels by
// their times, where `times_kernels` says so.
Result<Backend> MakeBackend(const std::string& name,
                            int num_threads,
                            uint64_t schedule_seed,
                            bool times_kernels);

}  // namespace longhand::conformance
