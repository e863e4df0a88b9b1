// EventRecord: an event of a request as the journal's file holds it, many in one blob.
//
//   batches  what a transaction wrote of all requests; the latest quarter of a megabyte or so
//   chunks   of one request each; what was in batches before, and all of a request that is over
//
// A transaction thus touches a page or two however many streams it serves, and a request is read
// without the others. An event may stand in both; the chunk is then whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/status.h"
#include "coordinator/journal/database.h"
#include "coordinator/journal/entry.h"

namespace longhand::journal {

struct EventRecord {
  int64_t key = 0;  // of the request's row
  int64_t seq = 0;
  uint32_t checksum = 0;  // of the request's chain up to here
  std::string payload;
};

void AppendRecord(
    int64_t key, int64_t seq, uint32_t checksum, std::string_view payload, std::string& blob);

// Where a request's chain of records stands.
struct Chain {
  int64_t key = 0;  // of its row
  int64_t last_seq = 0;
  uint32_t checksum = 0;    // of its last record
  int64_t chunked_seq = 0;  // the last that is in a chunk
  std::string tail;         // records of those after it
};

// The batches' events by request; of request `key` alone where one is given.
struct BatchedEvents {
  std::unordered_map<int64_t, std::vector<EventRecord>> of_request;
  int64_t num_damaged = 0;  // batches that do not end with a whole record

  // What could be read stays when this fails.
  Status Read(Database& database, std::optional<int64_t> key = std::nullopt);
};

// Appends the longest valid prefix of the request's events, from `chain` on; counts records that
// are not in it.
Status ReadEvents(Database& database,
                  const BatchedEvents& batched,
                  Chain& chain,
                  StoredRequest& request,
                  int64_t& num_lost);

}  // namespace longhand::journal
