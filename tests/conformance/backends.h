// The backends that this program was built with.
#pragma once

#include <string>

#include "common/status.h"
#include "tests/conformance/runner.h"

namespace longhand::conformance {

// kUnimplemented for a backend that is not built in, kInvalidArgument for a name that is none.
Result<Backend> MakeBackend(const std::string& name, int num_threads);

}  // namespace longhand::conformance
