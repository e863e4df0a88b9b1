// WaitingQueue: who is admitted next.
//
// Answers that ran before (preempted, or of a lost group) come first, the longest admitted first.
// Of the others, tenants take turns by tokens: the next is of the tenant that was given the fewest
// for its weight while it had something waiting (start-time fair queueing). An admitted answer is
// charged with its prompt and expected length, and with the rest when it ends. Within a tenant an
// answer of priority p stands where one of priority 0 would that came p steps later: so nobody is
// overtaken by what comes later than the difference of priorities. A tenant is known as long as
// answers of it wait or run. Engine thread (owned by Scheduler).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "coordinator/engine/config.h"
#include "coordinator/engine/queue_totals.h"
#include "coordinator/engine/sequence.h"

namespace longhand::engine {

class WaitingQueue {
 public:
  // `config` and `totals`, which has this queue and others, outlive the queue.
  WaitingQueue(const EngineConfig& config, QueueTotals& totals)
      : config_(config), totals_(totals) {}
  ~WaitingQueue();
  WaitingQueue(const WaitingQueue&) = delete;
  WaitingQueue& operator=(const WaitingQueue&) = delete;

  void Add(Sequence& sequence);
  // One that waits leaves without being admitted.
  void Remove(Sequence& sequence);
  // Null when nobody waits. Whoever is admitted next must be this one.
  Sequence* Next() const;
  // The next one runs now: it leaves the queue, and its tenant is charged.
  void Admit(Sequence& sequence);
  // One that ran is over, and with it its claim; its tenant pays for what it really took.
  void Settle(Sequence& sequence);
  // So many can be admitted by the next plan, as far as is known: they do not wait.
  void SetPlaces(int64_t num_places);
  // Of these, those that nobody in the queue takes.
  int64_t num_free_places() const { return num_places_ - num_placed_; }

  int64_t size() const { return num_fresh_ + static_cast<int64_t>(returning_.size()); }
  int64_t num_tenants() const { return static_cast<int64_t>(tenants_.size()); }

  // LONGHAND_CHECKs that the order is kept and tenants are bounded by the answers there are.
  void CheckInvariants(int64_t num_sequences) const;

 private:
  struct Tenant {
    int64_t number = 0;  // rises with arrival; ties go by it
    double weight = 1;
    double served = 0;  // tokens given, by weight
    int64_t num_sequences = 0;
    std::map<std::pair<TimePoint, int64_t>, Sequence*> waiting;  // by StandIn, id
  };
  // A moment that sorts by arrival and priority.
  TimePoint StandIn(const Sequence& sequence) const {
    return sequence.queued_at + sequence.request->priority * config_.priority_step;
  }
  Tenant& TenantOf(const Sequence& sequence);
  void Charge(Tenant& tenant, int64_t num_tokens);
  void Leave(const Sequence& sequence);
  void CountPlaced();

  const EngineConfig& config_;
  QueueTotals& totals_;
  std::map<int64_t, Sequence*> returning_;                    // by admission
  std::map<std::string, std::unique_ptr<Tenant>> tenants_;    // with answers that wait or run
  std::set<std::tuple<double, int64_t, Tenant*>> by_served_;  // tenants with answers that wait
  double now_served_ = 0;                                     // what the last chosen had
  int64_t next_tenant_ = 1;
  int64_t num_fresh_ = 0;
  int64_t num_places_ = 0;
  int64_t num_placed_ = 0;  // answers in the queue for which there is one
};

}  // namespace longhand::engine
