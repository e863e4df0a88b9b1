#include "coordinator/engine/waiting_queue.h"

#include <algorithm>
#include <tuple>

#include "common/check.h"

namespace longhand::engine {

WaitingQueue::~WaitingQueue() {
  totals_.AddPlaced(-num_placed_);
  totals_.Add(-static_cast<int64_t>(returning_.size()));
  for (const auto& [name, tenant] : tenants_)
    totals_.AddOf(name, -static_cast<int64_t>(tenant->waiting.size()));
}

WaitingQueue::Tenant& WaitingQueue::TenantOf(const Sequence& sequence) {
  std::unique_ptr<Tenant>& tenant = tenants_[sequence.request->tenant];
  if (tenant == nullptr) {
    tenant = std::make_unique<Tenant>();
    tenant->number = next_tenant_++;
    const auto weight = config_.tenant_weights.find(sequence.request->tenant);
    if (weight != config_.tenant_weights.end())
      tenant->weight = static_cast<double>(weight->second);
  }
  return *tenant;
}

void WaitingQueue::Add(Sequence& sequence) {
  Tenant& tenant = TenantOf(sequence);
  // Who was preempted never left its tenant.
  if (sequence.num_charged_tokens == 0) ++tenant.num_sequences;
  if (sequence.standing.admission > 0) {
    returning_.emplace(sequence.standing.admission, &sequence);
    totals_.Add(1);
    return CountPlaced();
  }
  if (tenant.waiting.empty()) {
    // What others were given while it wanted nothing is not owed to it.
    tenant.served = std::max(tenant.served, now_served_);
    by_served_.emplace(tenant.served, tenant.number, &tenant);
  }
  tenant.waiting.emplace(std::pair(StandIn(sequence), sequence.id), &sequence);
  totals_.AddOf(sequence.request->tenant, 1);
  ++num_fresh_;
  CountPlaced();
}

void WaitingQueue::Remove(Sequence& sequence) {
  Leave(sequence);
  CountPlaced();
  Settle(sequence);
}

void WaitingQueue::SetPlaces(int64_t num_places) {
  num_places_ = num_places;
  CountPlaced();
}

void WaitingQueue::CountPlaced() {
  const int64_t num_placed = std::min(num_places_, size());
  if (num_placed != num_placed_)
    totals_.AddPlaced(num_placed - std::exchange(num_placed_, num_placed));
}

void WaitingQueue::Leave(const Sequence& sequence) {
  if (sequence.standing.admission > 0) {
    LONGHAND_CHECK_EQ(returning_.erase(sequence.standing.admission), 1u);
    return totals_.Add(-1);
  }
  Tenant& tenant = TenantOf(sequence);
  LONGHAND_CHECK_EQ(tenant.waiting.erase({StandIn(sequence), sequence.id}), 1u);
  if (tenant.waiting.empty()) by_served_.erase({tenant.served, tenant.number, &tenant});
  totals_.AddOf(sequence.request->tenant, -1);
  --num_fresh_;
}

Sequence* WaitingQueue::Next() const {
  if (!returning_.empty()) return returning_.begin()->second;
  if (by_served_.empty()) return nullptr;
  return std::get<Tenant*>(*by_served_.begin())->waiting.begin()->second;
}

void WaitingQueue::Admit(Sequence& sequence) {
  LONGHAND_CHECK(&sequence == Next()) << "sequence " << sequence.id << " is not the next one";
  Tenant& tenant = TenantOf(sequence);
  if (sequence.standing.admission == 0) now_served_ = std::max(now_served_, tenant.served);
  Leave(sequence);
  SetPlaces(std::max<int64_t>(0, num_places_ - 1));
  if (sequence.num_charged_tokens > 0) return;
  sequence.num_charged_tokens = sequence.request->num_prompt_tokens() + sequence.expected_tokens;
  Charge(tenant, sequence.num_charged_tokens);
}

void WaitingQueue::Settle(Sequence& sequence) {
  const auto found = tenants_.find(sequence.request->tenant);
  LONGHAND_CHECK(found != tenants_.end()) << "tenant '" << sequence.request->tenant << "' is gone";
  Tenant& tenant = *found->second;
  if (sequence.num_charged_tokens > 0) {
    const auto num_tokens = sequence.request->num_prompt_tokens() +
                            static_cast<int64_t>(sequence.output_token_ids.size());
    Charge(tenant, num_tokens - sequence.num_charged_tokens);
  }
  if (--tenant.num_sequences == 0) tenants_.erase(found);
}

void WaitingQueue::Charge(Tenant& tenant, int64_t num_tokens) {
  const bool waits = by_served_.erase({tenant.served, tenant.number, &tenant}) > 0;
  tenant.served += static_cast<double>(num_tokens) / tenant.weight;
  if (waits) by_served_.emplace(tenant.served, tenant.number, &tenant);
}

void WaitingQueue::CheckInvariants(int64_t num_sequences) const {
  int64_t num_fresh = 0;
  int64_t num_of_tenants = 0;
  for (const auto& [name, tenant] : tenants_) {
    num_fresh += static_cast<int64_t>(tenant->waiting.size());
    num_of_tenants += tenant->num_sequences;
    LONGHAND_CHECK_GE(tenant->num_sequences, 1);
    LONGHAND_CHECK_EQ(by_served_.contains({tenant->served, tenant->number, tenant.get()}),
                      !tenant->waiting.empty());
    for (const auto& [place, sequence] : tenant->waiting) {
      LONGHAND_CHECK(place.first == StandIn(*sequence) && sequence->standing.admission == 0);
      LONGHAND_CHECK(sequence->request->tenant == name);
    }
  }
  LONGHAND_CHECK_EQ(num_fresh, num_fresh_);
  LONGHAND_CHECK_EQ(num_of_tenants, num_sequences);
}

}  // namespace longhand::engine
