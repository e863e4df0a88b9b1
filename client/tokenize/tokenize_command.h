// `longhand tokenize`: lines of JSON in, token ids out. Needs a checkpoint's tokenizer, no cluster.
#pragma once

#include <filesystem>
#include <istream>
#include <ostream>

#include "common/status.h"

namespace longhand::client {

struct TokenizeOptions {
  std::filesystem::path model;  // directory with tokenizer.json and tokenizer_config.json
};

// For each line {"text": "..."} of `in`, writes {"ids":[...]} to `out`, control tokens parsed.
// Blank lines are skipped, malformed UTF-8 counts as U+FFFD. Stops with kInvalidArgument at the
// first line that is anything else, naming it; the answers to the lines before it are written.
Status Tokenize(const TokenizeOptions& options, std::istream& in, std::ostream& out);

}  // namespace longhand::client
