// The machine behind grid.h: a block's threads, which of them runs, and what the others wait for.
// For the files of this folder alone.
#pragma once

#include <bit>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernels/emulation/fiber.h"
#include "kernels/emulation/grid.h"

namespace longhand::kernels::emulation {

constexpr int kWarp = 32;
constexpr int kNumBarriers = 16;

enum class State : uint8_t { kNew, kReady, kAtBarrier, kInWarpOperation, kAsleep, kDone };

struct PendingCopy {
  char* to;
  const char* from;
  int bytes;
  int unit;
  int group;
  uint64_t* barrier = nullptr;  // to arrive at, instead of a copy
};

struct Thread {
  Fiber fiber;
  State state = State::kNew;
  int index = 0;  // in the block
  Dim3 position;
  int barrier = 0;
  bool any_at_barrier = false;
  // Of the warp operation that it waits in.
  const char* operation = nullptr;
  uint32_t mask = 0;
  Complete complete = nullptr;
  void* slot = nullptr;
  const void* place = nullptr;  // that it sleeps for
  std::vector<PendingCopy> copies;
  int next_group = 0;
  OpenProducts products;
};

// The calling OS thread's: its fibers' stacks, and the block that runs.
class Machine {
 public:
  // On `outer`, where a thread of that machine's calls this; else null.
  Status Run(const char* kernel,
             const LaunchConfig& config,
             void (*body)(void*),
             void* argument,
             const Machine* outer);

  void* shared() const { return shared_.get(); }
  size_t shared_bytes() const { return shared_bytes_; }
  Thread& current() { return *current_; }
  // Of each 16 bytes: how many fences had been made when they were written, and one; 0 where none
  // must be made.
  uint32_t& WrittenAt(const void* p) {
    return written_[static_cast<size_t>(static_cast<const char*>(p) - shared_.get()) / 16];
  }
  uint32_t num_fences() const { return num_fences_; }
  void Fence() { ++num_fences_; }
  int index() const { return current_->index; }

  void ArriveAtBarrier(int id, int num_threads, bool predicate);
  // Whether any thread there had the predicate.
  bool WaitAtBarrier(int id, int num_threads, bool predicate);
  void Await(const Landing& landing) { landings_.push_back(landing); }
  void Sleep(const char* name, const void* place);
  void Wake(const void* place);
  void WaitForPrevious();
  bool LandCopies(const uint64_t* barrier);
  void WaitInWarp(const char* name, uint32_t mask, Complete complete, void* slot);
  [[noreturn]] void Fail(const char* format, va_list arguments);

 private:
  struct FreeMemory {
    void operator()(char* memory) const { std::free(memory); }
  };
  struct BarrierState {
    int arrived = 0;
    int expected = 0;
    bool any = false;
  };

  static Status CheckLaunch(const LaunchConfig& config);
  static void FiberMain();
  void RunBlock(size_t block);
  uint64_t Random();
  int PickBit(uint32_t bits);
  // The lanes of one warp in order while they can go on, for their stacks are in the cache; or any.
  Thread* Pick();
  int PickAnyLane();
  void LandOrFail();
  void SetReady(int index);
  void Finish();
  void ReleaseBarrier(int id);
  void CheckBarriers();
  uint32_t LanesOf(size_t warp) const;  // that the block has
  [[noreturn]] void RefuseMask(const char* name, uint32_t mask);
  void CompleteInWarp(const Thread& last);
  // What lands there; false where nothing does.
  bool LandAt(const void* place);
  bool LandForSleepers();
  bool RunPrevious();
  // Leaves the current thread for another that can go on; returns when it can itself.
  void Yield();
  void Resume(Fiber& from, Thread& to, bool is_over);
  void ReturnToCaller(Fiber& from);
  void CollectRetired();
  FiberStack* TakeStack();
  void DescribeDeadlock();

  // Of the launch.
  const char* kernel_ = nullptr;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  uint64_t random_ = 0;
  bool shuffled_ = false;
  bool begins_early_ = false;
  bool failed_ = false;
  char message_[512];
  std::string deadlock_;
  std::unique_ptr<char, FreeMemory> shared_;
  size_t shared_bytes_ = 0;
  // Of the block.
  std::vector<Thread> threads_;
  Thread* current_ = nullptr;
  size_t num_alive_ = 0;
  bool has_waited_ = false;     // a thread of it, for the launch before
  uint32_t ready_[kWarp] = {};  // lanes, of each warp
  uint32_t ready_warps_ = 0;
  int warp_ = 0;
  uint32_t in_operation_[kWarp] = {};  // lanes, of each warp
  uint32_t ended_[kWarp] = {};         // or never were
  BarrierState barriers_[kNumBarriers];
  std::vector<Landing> landings_;
  std::vector<uint32_t> written_;
  uint32_t num_fences_ = 0;
  // Of the OS thread.
  Fiber caller_;
  Fiber* previous_ = nullptr;
  FiberStack* retired_ = nullptr;  // of a fiber that ended; free once something else runs
  std::vector<std::unique_ptr<FiberStack>> stacks_;
  std::vector<FiberStack*> free_stacks_;
};

// What every switch takes is inline.

inline Thread* Machine::Pick() {
  if (ready_warps_ == 0) LandOrFail();
  int lane;
  if (shuffled_) {
    lane = PickAnyLane();
  } else {
    if (ready_[warp_] == 0) {
      warp_ = (std::countr_zero(std::rotr(ready_warps_, warp_)) + warp_) % kWarp;
    }
    lane = std::countr_zero(ready_[warp_]);
  }
  ready_[warp_] &= ~(1u << lane);
  if (ready_[warp_] == 0) ready_warps_ &= ~(1u << warp_);
  return &threads_[static_cast<size_t>(warp_ * kWarp + lane)];
}

inline void Machine::Resume(Fiber& from, Thread& to, bool is_over) {
  if (to.state == State::kNew) PrepareFiber(TakeStack(), &FiberMain, to.fiber);
  to.state = State::kReady;
  current_ = &to;
  t_position.thread = to.position;
  previous_ = &from;
  SwitchFiber(from, to.fiber, is_over);
}

inline void Machine::CollectRetired() {
  if (retired_ == nullptr) return;
  free_stacks_.push_back(retired_);
  retired_ = nullptr;
}

inline void Machine::Yield() {
  Thread& self = *current_;
  Thread* next = Pick();
  if (next == &self) return;
  Resume(self.fiber, *next, /*is_over=*/false);
  CollectRetired();
}

// That of the launch that runs.
extern thread_local constinit Machine* t_machine;
inline Machine& TheMachine() { return *t_machine; }

}  // namespace longhand::kernels::emulation
