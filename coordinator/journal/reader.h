// Reads what the journal keeps, while it is being written. Any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "common/status.h"
#include "coordinator/journal/entry.h"

namespace longhand::journal {

// Nothing when no such request is kept. kDataLoss when its records are not whole; else as
// SqliteStatus.
Result<std::optional<StoredRequest>> ReadRequest(const std::filesystem::path& directory,
                                                 const std::string& request_id);

}  // namespace longhand::journal
