// What the journal keeps. Payloads are bytes to it: serialized messages of the API.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace longhand::journal {

struct RequestEntry {
  std::string request_id;
  std::string payload;
};

struct EventEntry {
  std::string request_id;
  int64_t seq = 0;  // from 1, without gaps
  std::string payload;
};

// Ends a request; nothing may follow.
struct EndEntry {
  std::string request_id;
  std::string payload;
};

// A coordinator is about to run an unfinished request again: for the `attempts`-th time since the
// request's latest event. 0: it was not the request that ended the coordinator. Of a request that
// is not there it says nothing.
struct AttemptEntry {
  std::string request_id;
  int32_t attempts = 0;
};

using Entry = std::variant<RequestEntry, EventEntry, EndEntry, AttemptEntry>;

struct StoredEvent {
  int64_t seq = 0;
  std::string payload;

  friend bool operator==(const StoredEvent&, const StoredEvent&) = default;
};

struct StoredRequest {
  std::string request_id;
  std::string payload;
  std::vector<StoredEvent> events;  // 1, 2, ...
  std::optional<std::string> end;   // the payload; none: it has not ended
  int32_t attempts = 0;             // to go on after the latest event, all in vain

  friend bool operator==(const StoredRequest&, const StoredRequest&) = default;
};

}  // namespace longhand::journal
