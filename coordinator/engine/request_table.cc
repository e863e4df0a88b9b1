#include "coordinator/engine/request_table.h"

#include "common/check.h"

namespace longhand::engine {

ActiveRequest* RequestTable::Find(const std::string& request_id) {
  const auto found = by_id_.find(request_id);
  return found == by_id_.end() ? nullptr : found->second;
}

ActiveRequest& RequestTable::Add(std::unique_ptr<ActiveRequest> active) {
  ActiveRequest& added = *active;
  const Request& request = *added.request;
  LONGHAND_CHECK(by_id_.emplace(request.request_id, &added).second)
      << request.request_id << " exists";
  if (added.expires_at != TimePoint::max()) expiries_[{added.expires_at, added.arrival}] = &added;
  requests_.emplace(added.arrival, std::move(active));
  return added;
}

std::unique_ptr<ActiveRequest> RequestTable::Take(ActiveRequest& active) {
  by_id_.erase(active.request->request_id);
  expiries_.erase({active.expires_at, active.arrival});
  auto node = requests_.extract(active.arrival);
  LONGHAND_CHECK(!node.empty()) << "request " << active.request->request_id << " is not there";
  return std::move(node.mapped());
}

ActiveRequest* RequestTable::FindExpired(TimePoint now) const {
  return expiries_.empty() || next_expiry() > now ? nullptr : expiries_.begin()->second;
}

void RequestTable::SetExpiry(ActiveRequest& active, TimePoint expires_at) {
  expiries_.erase({active.expires_at, active.arrival});
  active.expires_at = expires_at;
  if (expires_at != TimePoint::max()) expiries_[{expires_at, active.arrival}] = &active;
}

std::vector<ActiveRequest*> RequestTable::All() const {
  std::vector<ActiveRequest*> all;
  all.reserve(requests_.size());
  for (const auto& [arrival, active] : requests_) all.push_back(active.get());
  return all;
}

}  // namespace longhand::engine
