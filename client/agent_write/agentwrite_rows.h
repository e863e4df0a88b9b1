// The two phases of AgentWrite, each for all rows of a file: plan, then write.
#pragma once

#include <filesystem>
#include <string>

#include "client/chat/chat_options.h"
#include "common/status.h"

namespace longhand::client {

// How a plan becomes sections.
enum class PlanSplit { kRobust, kPublished };

struct AgentWriteOptions {
  std::filesystem::path in, out, cache;
  std::string picture_folder;  // of relative paths; empty: that of `in`
  std::string plan_template, write_template;
  PlanSplit split = PlanSplit::kRobust;
  // As the published code does it: no section sees those before it, and words are what white space
  // separates.
  bool is_published = false;
  ChatOptions chat;
  SamplingOptions sampling;
  int concurrency = 8;
  bool is_quiet = false;
};

// {"prompt", ...} -> the same and "plan". Rows that `out` has are not planned again. The number of
// rows that failed.
Result<int64_t> PlanRows(AgentWriteOptions& options);

// {"prompt", "plan", ...} -> the same and "write" [a text for each section], "sections"
// [{"section", "response", "word_count"}] and "total_word_count". Every section goes to `cache`
// when it is there, and is taken from it when work goes on.
Result<int64_t> WriteRows(AgentWriteOptions& options);

}  // namespace longhand::client
