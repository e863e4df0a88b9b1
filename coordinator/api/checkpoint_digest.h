// A digest of a checkpoint: whether two directories hold the same weights and tokenizer.
#pragma once

#include <filesystem>
#include <string>

#include "common/status.h"

namespace longhand::api {

// SHA-256 over name, size and content of the JSON files, and of each safetensors file its name,
// size and beginning with pieces from all over it: two checkpoints of one shape differ in every
// tensor, and reading all of a large one would hold up the start. kUnavailable when a file cannot
// be read.
Result<std::string> CheckpointDigest(const std::filesystem::path& directory);

}  // namespace longhand::api
