#include "coordinator/api/stream_table.h"

namespace longhand::api {

Status CheckSameRequest(const EventStream::Identity& identity,
                        const EventStream::Identity& existing) {
  if (identity.owner == existing.owner && identity.sent_digest == existing.sent_digest)
    return OkStatus();
  return Status(StatusCode::kAlreadyExists,
                "another request has the id '" + identity.request_id +
                    "'; the same id may be sent again only with the same request");
}

Result<StreamTable::Begun> StreamTable::Begin(const EventStream::Identity& identity) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<EventStream>& stream = streams_[identity.request_id];
  if (stream != nullptr) {
    LONGHAND_RETURN_IF_ERROR(CheckSameRequest(identity, stream->identity()));
    return Begun{.stream = stream};
  }
  stream = std::make_shared<EventStream>(identity);
  return Begun{.stream = stream, .is_new = true};
}

std::shared_ptr<EventStream> StreamTable::Find(const std::string& request_id,
                                               const std::string& owner) const {
  std::lock_guard lock(mutex_);
  const auto found = streams_.find(request_id);
  const bool is_found = found != streams_.end() && found->second->identity().owner == owner;
  return is_found ? found->second : nullptr;
}

void StreamTable::Remove(const EventStream& stream) {
  std::lock_guard lock(mutex_);
  const auto found = streams_.find(stream.identity().request_id);
  if (found != streams_.end() && found->second.get() == &stream) streams_.erase(found);
}

std::vector<std::shared_ptr<EventStream>> StreamTable::All() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<EventStream>> all;
  for (const auto& [id, stream] : streams_) all.push_back(stream);
  return all;
}

void StreamTable::AbandonUnread(TimePoint now) {
  for (const auto& stream : All()) stream->AbandonIfUnread(now);
}

void StreamTable::EndAll(const Status& status) {
  for (const auto& stream : All()) stream->End(status);
}

}  // namespace longhand::api
