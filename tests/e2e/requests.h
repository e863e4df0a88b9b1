// Requests that the end-to-end tests send, from the recorded cases.
#pragma once

#include <string>

#include "longhand/v1/generation.pb.h"
#include "tests/parity/recording.h"

namespace longhand::e2e {

// Greedy, without penalties, past the end-of-sequence ids: as the recording was made.
v1::GenerateRequest RecordedRequest(const parity::Recording& recording,
                                    const std::string& case_name,
                                    int64_t max_tokens);

// A user's text, greedy.
v1::GenerateRequest TextRequest(const std::string& text, int64_t max_tokens);

std::string ReadBytes(const std::string& path);

}  // namespace longhand::e2e
