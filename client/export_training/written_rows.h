// Samples for SFT out of rows that hold questions and answers.
#pragma once

#include <string>

#include "client/dataset/dataset.h"
#include "client/export_training/sample.h"
#include "common/status.h"

namespace longhand::client {

// Of `agentwrite write` ({"prompt", "write"}) or `write --json` ({"metadata", "sections"}): the
// sections, a blank line between them, are the answer.
Result<Sample> SampleOfWriting(DatasetRow row);

// Of LongWriter-V-22K: `messages` is a list of texts, the user's and the assistant's in turn, or of
// JSON objects with role and content, as text or not. `form` says which it was.
Result<Sample> SampleOfMessages(DatasetRow row, std::string* form);

}  // namespace longhand::client
