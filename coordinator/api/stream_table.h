// StreamTable: the streams of requests that have not ended, by request id. Any thread.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/clock.h"
#include "common/status.h"
#include "coordinator/api/event_stream.h"

namespace longhand::api {

class StreamTable {
 public:
  struct Begun {
    std::shared_ptr<EventStream> stream;  // shared with its producer and its readers
    bool is_new = false;
  };
  // The stream of the request: one that runs already if it is the same request; kAlreadyExists when
  // the id is another's.
  Result<Begun> Begin(const EventStream::Identity& identity);
  // Null when the owner has no such request that runs.
  std::shared_ptr<EventStream> Find(const std::string& request_id, const std::string& owner) const;
  void Remove(const EventStream& stream);

  // Ends the streams of requests that have lost their readers with an earlier coordinator.
  void AbandonUnread(TimePoint now);
  // The process ends: whoever still reads is told so.
  void EndAll(const Status& status);

 private:
  std::vector<std::shared_ptr<EventStream>> All() const;

  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<EventStream>> streams_;
};

// Whether `identity` asks for the request that has `existing`: OK, or kAlreadyExists.
Status CheckSameRequest(const EventStream::Identity& identity,
                        const EventStream::Identity& existing);

}  // namespace longhand::api
