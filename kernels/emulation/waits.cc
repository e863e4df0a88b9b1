// What a thread waits for: barriers, warp operations, places in shared memory; and what lands there
// once it does.
#include <algorithm>
#include <bit>
#include <sstream>

#include "kernels/emulation/machine.h"

namespace longhand::kernels::emulation {

void Machine::ReleaseBarrier(int id) {
  const bool any = barriers_[id].any;
  barriers_[id] = {};
  for (size_t i = 0; i < threads_.size(); ++i) {
    if (threads_[i].state != State::kAtBarrier || threads_[i].barrier != id) continue;
    threads_[i].any_at_barrier = any;
    threads_[i].state = State::kReady;
    SetReady(static_cast<int>(i));
  }
}

// A thread's end may be what the others at a barrier of all threads waited for.
void Machine::CheckBarriers() {
  for (int id = 0; id < kNumBarriers; ++id) {
    const BarrierState& barrier = barriers_[id];
    if (barrier.arrived > 0 && barrier.expected == 0 &&
        static_cast<size_t>(barrier.arrived) == num_alive_) {
      ReleaseBarrier(id);
    }
  }
}

void Machine::ArriveAtBarrier(int id, int num_threads, bool predicate) {
  BarrierState& barrier = barriers_[id];
  if (barrier.arrived > 0 && barrier.expected != num_threads) {
    emulation::Fail("threads at one barrier disagree on how many wait there");
  }
  barrier.expected = num_threads;
  ++barrier.arrived;
  barrier.any |= predicate;
  const size_t expected = num_threads == 0 ? num_alive_ : static_cast<size_t>(num_threads);
  if (static_cast<size_t>(barrier.arrived) == expected) ReleaseBarrier(id);
}

bool Machine::WaitAtBarrier(int id, int num_threads, bool predicate) {
  Thread& self = *current_;
  self.state = State::kAtBarrier;
  self.barrier = id;
  ArriveAtBarrier(id, num_threads, predicate);
  Yield();
  return self.any_at_barrier;
}

bool Machine::LandAt(const void* place) {
  bool found = false;
  for (size_t i = 0; i < landings_.size();) {
    if (landings_[i].place != place) {
      ++i;
      continue;
    }
    const Landing landing = landings_[i];
    landings_.erase(landings_.begin() + static_cast<int64_t>(i));
    landing.land(landing);
    found = true;
  }
  return found;
}

bool Machine::LandForSleepers() {
  for (const Thread& thread : threads_) {
    if (thread.state == State::kAsleep && LandAt(thread.place) && ready_warps_ != 0) return true;
  }
  return false;
}

void Machine::Sleep(const char* name, const void* place) {
  // Whoever sleeps looks again when it wakes.
  if (shuffled_ && Random() % 2 == 0 && LandAt(place)) return;
  current_->state = State::kAsleep;
  current_->operation = name;
  current_->place = place;
  Yield();
}

void Machine::Wake(const void* place) {
  for (size_t i = 0; i < threads_.size(); ++i) {
    if (threads_[i].state != State::kAsleep || threads_[i].place != place) continue;
    threads_[i].state = State::kReady;
    SetReady(static_cast<int>(i));
  }
}

void Machine::RefuseMask(const char* name, uint32_t mask) {
  const int warp = index() / kWarp, lane = index() % kWarp;
  const uint32_t exist = LanesOf(static_cast<size_t>(warp));
  const char* what = "it waits forever for the ended lanes";
  uint32_t lanes = ended_[warp] & exist;
  if ((mask >> lane & 1) == 0) {
    what = "its mask lacks the lane itself, of", lanes = exist;
  } else if ((mask & ~exist) != 0) {
    what = "the block has only lanes", lanes = exist;
  }
  emulation::Fail("%s with mask %x in lane %d: %s %x", name, mask, lane, what, lanes);
}

void Machine::CompleteInWarp(const Thread& last) {
  const int warp = last.index / kWarp;
  void* slots[kWarp] = {};
  for (uint32_t rest = last.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    Thread& thread = threads_[static_cast<size_t>(warp * kWarp + lane)];
    if (thread.mask != last.mask || thread.complete != last.complete) {
      emulation::Fail("%s with mask %x in lane %d: another operation or mask in lanes %x",
                      last.operation, last.mask, last.index % kWarp, 1u << lane);
    }
    slots[lane] = thread.slot;
    thread.state = State::kReady;
  }
  last.complete(slots, last.mask);
  in_operation_[warp] &= ~last.mask;
  ready_[warp] |= last.mask;
  ready_warps_ |= 1u << warp;
}

void Machine::WaitInWarp(const char* name, uint32_t mask, Complete complete, void* slot) {
  Thread& self = *current_;
  const int warp = self.index / kWarp;
  const uint32_t lane = 1u << self.index % kWarp;
  if (((mask & ended_[warp]) | (lane & ~mask)) != 0) RefuseMask(name, mask);
  self.state = State::kInWarpOperation;
  self.operation = name;
  self.mask = mask;
  self.complete = complete;
  self.slot = slot;
  in_operation_[warp] |= lane;
  if ((in_operation_[warp] & mask) == mask) CompleteInWarp(self);
  Yield();
}

void Machine::DescribeDeadlock() {
  std::ostringstream message;
  message << "threads wait for each other forever:";
  int listed = 0;
  for (size_t i = 0; i < threads_.size() && listed < 4; ++i) {
    const Thread& thread = threads_[i];
    if (thread.state == State::kAtBarrier) {
      message << " thread " << i << " at barrier " << thread.barrier << ";";
    } else if (thread.state == State::kInWarpOperation) {
      message << " thread " << i << " in " << thread.operation << " with mask " << std::hex
              << thread.mask << std::dec << ";";
    } else if (thread.state == State::kAsleep) {
      message << " thread " << i << " in " << thread.operation << ";";
    } else {
      continue;
    }
    ++listed;
  }
  message << " " << num_alive_ << " of " << threads_.size() << " have not ended";
  deadlock_ = message.str();
}

void Barrier(int id, int num_threads) { (void)BarrierOr(id, num_threads, false); }

bool BarrierOr(int id, int num_threads, bool predicate) {
  if (id < 0 || id >= kNumBarriers || num_threads % kWarp != 0) Fail("no such barrier");
  return TheMachine().WaitAtBarrier(id, num_threads, predicate);
}

void ArriveAtBarrier(int id, int num_threads) {
  if (id < 0 || id >= kNumBarriers || num_threads % kWarp != 0) Fail("no such barrier");
  TheMachine().ArriveAtBarrier(id, num_threads, false);
}

void Await(const Landing& landing) { TheMachine().Await(landing); }
void Sleep(const char* name, const void* place) { TheMachine().Sleep(name, place); }
void Wake(const void* place) { TheMachine().Wake(place); }

void WarpOperation(const char* name, uint32_t mask, Complete complete, void* slot) {
  TheMachine().WaitInWarp(name, mask, complete, slot);
}

}  // namespace longhand::kernels::emulation
