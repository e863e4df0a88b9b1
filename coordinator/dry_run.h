// The plan that --dry-run prints: what each rank of each group holds. Needs config.json alone.
#pragma once

#include "common/options/serve_options.h"
#include "common/status.h"

namespace longhand {

// Prints it, or says why there is none.
Status DryRun(const ServeOptions& options);

}  // namespace longhand
