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
  if (request.deadline != TimePoint::max()) deadlines_[{request.deadline, added.arrival}] = &added;
  requests_.emplace(added.arrival, std::move(active));
  return added;
}

std::unique_ptr<ActiveRequest> RequestTable::Take(ActiveRequest& active) {
  by_id_.erase(active.request->request_id);
  deadlines_.erase({active.request->deadline, active.arrival});
  auto node = requests_.extract(active.arrival);
  LONGHAND_CHECK(!node.empty()) << "request " << active.request->request_id << " is not there";
  return std::move(node.mapped());
}

ActiveRequest* RequestTable::FindExpired(TimePoint now) const {
  return deadlines_.empty() || next_deadline() > now ? nullptr : deadlines_.begin()->second;
}

std::vector<ActiveRequest*> RequestTable::All() const {
  std::vector<ActiveRequest*> all;
  all.reserve(requests_.size());
  for (const auto& [arrival, active] : requests_) all.push_back(active.get());
  return all;
}

}  // namespace longhand::engine
