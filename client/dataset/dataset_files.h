// Where a data set's files are.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/status.h"

namespace longhand::client {

// What `--data` means: a .parquet or .jsonl file; a folder with *.parquet, or with data/*.parquet;
// else ORG/NAME, a data set of the Hugging Face hub, which is downloaded where the cache does not
// have it. In a folder with splits, those of `train`. In the order of their names.
Result<std::vector<std::filesystem::path>> FindDatasetFiles(const std::string& data,
                                                            const std::string& revision);

}  // namespace longhand::client
