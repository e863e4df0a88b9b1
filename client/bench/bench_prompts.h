// The prompts of `longhand bench serve`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/status.h"

namespace longhand::client {

// `count` prompts of about `num_words` random English words each. The same for the same seed, and
// no two begin alike.
std::vector<std::string> RandomPrompts(int64_t count, int64_t num_words, uint64_t seed);

// `count` prompts from a file's lines, in turn: text, or JSON objects with "prompt".
// kInvalidArgument naming the line.
Result<std::vector<std::string>> PromptsOfFile(const std::filesystem::path& path, int64_t count);

// Seconds from the start at which requests arrive: a Poisson process of `rate` a second, or all at
// once for a rate of 0.
std::vector<double> ArrivalTimes(int64_t count, double rate, uint64_t seed);

}  // namespace longhand::client
