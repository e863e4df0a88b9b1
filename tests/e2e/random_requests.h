// Random requests of every kind that a client may send, and answers to them as far as every run has
// them alike.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "longhand/v1/generation.pb.h"
#include "tests/e2e/local_cluster.h"

namespace longhand::e2e {

// A number from the environment: $LONGHAND_RANDOM_SEED, $LONGHAND_RANDOM_REQUESTS.
uint64_t Setting(const char* name, uint64_t otherwise);

inline constexpr int64_t kMaxRandomTokens = 96;  // of an answer

// Chat, raw text and token ids, with and without pictures, all sampling fields, several answers,
// stops of all kinds, log-probabilities. Some begin alike. A third of them comes once more, held to
// a form.
std::vector<v1::GenerateRequest> RandomRequests(uint64_t seed, int count);

// Documents of three short sections to a plan of the client's, some with a picture, some to a
// length.
std::vector<v1::WriteDocumentRequest> RandomDocuments(uint64_t seed, int count);

// All that an answer says, choice by choice: text, tokens, log-probabilities, why it ended, how
// much it was. How the events of several choices follow each other is not part of it.
std::string Contents(const Answer& answer);

}  // namespace longhand::e2e
