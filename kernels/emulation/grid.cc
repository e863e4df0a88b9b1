#include "kernels/emulation/grid.h"

#include <algorithm>
#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/split_mix.h"
#include "kernels/emulation/fiber.h"

namespace longhand::kernels::emulation {

thread_local constinit ThreadPosition t_position;
thread_local constinit int64_t t_bytes_copied = 0;

namespace {

constexpr int kWarp = 32;
constexpr size_t kMaxThreads = 1024;
constexpr size_t kMaxSharedBytes = 227 << 10;  // sm_90's; sm_80 has 163 KiB
constexpr int kNumBarriers = 16;
constexpr size_t kVector = 16;  // bytes of an asynchronous copy

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

void Land(const PendingCopy& copy) {
  if (copy.barrier != nullptr) {
    ArriveAtMBarrier(copy.barrier, 0);
    return;
  }
  const auto bytes = static_cast<size_t>(copy.bytes);
  if (bytes > 0) std::memcpy(copy.to, copy.from, bytes);
  t_bytes_copied += static_cast<int64_t>(bytes);
  std::memset(copy.to + bytes, 0, static_cast<size_t>(copy.unit) - bytes);
}

// The calling OS thread's: its fibers' stacks, and the block that runs.
class Machine {
 public:
  Status Run(const char* kernel, const LaunchConfig& config, void (*body)(void*), void* argument);

  void* shared() const { return shared_.get(); }
  size_t shared_bytes() const { return shared_bytes_; }
  Thread& current() { return *current_; }
  int index() const { return static_cast<int>(current_ - threads_.data()); }

  void ArriveAtBarrier(int id, int num_threads, bool predicate);
  // Whether any thread there had the predicate.
  bool WaitAtBarrier(int id, int num_threads, bool predicate);
  void Await(const Landing& landing) { landings_.push_back(landing); }
  void Sleep(const char* name, const void* place);
  void Wake(const void* place);
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
  Thread* Pick();
  void SetReady(int index);
  void Finish();
  void ReleaseBarrier(int id);
  void CheckBarriers();
  // What lands there; false where nothing does.
  bool LandAt(const void* place);
  bool LandForSleepers();
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
  bool failed_ = false;
  char message_[512];
  std::string deadlock_;
  std::unique_ptr<char, FreeMemory> shared_;
  size_t shared_bytes_ = 0;
  // Of the block.
  std::vector<Thread> threads_;
  Thread* current_ = nullptr;
  size_t num_alive_ = 0;
  uint32_t ready_[kWarp] = {};  // lanes, of each warp
  uint32_t ready_warps_ = 0;
  int warp_ = 0;
  uint32_t in_operation_[kWarp] = {};  // lanes, of each warp
  uint32_t ended_[kWarp] = {};
  BarrierState barriers_[kNumBarriers];
  std::vector<Landing> landings_;
  // Of the OS thread.
  Fiber caller_;
  Fiber* previous_ = nullptr;
  FiberStack* retired_ = nullptr;  // of a fiber that ended; free once something else runs
  std::vector<std::unique_ptr<FiberStack>> stacks_;
  std::vector<FiberStack*> free_stacks_;
};

Machine& TheMachine() {
  static thread_local Machine machine;
  return machine;
}

Status Machine::CheckLaunch(const LaunchConfig& config) {
  if (config.block.count() < 1 || config.block.count() > kMaxThreads) {
    return Internal("a block of ", config.block.count(), " threads; 1 to ", kMaxThreads,
                    " are possible");
  }
  if (config.grid.count() < 1 || config.grid.y > 65535 || config.grid.z > 65535) {
    return Internal("a grid of ", config.grid.x, " x ", config.grid.y, " x ", config.grid.z,
                    " blocks; y and z can be up to 65535, and none can be 0");
  }
  if (config.shared_bytes > kMaxSharedBytes) {
    return Internal(config.shared_bytes, " bytes of shared memory; ", kMaxSharedBytes,
                    " are possible");
  }
  return OkStatus();
}

Status Machine::Run(const char* kernel,
                    const LaunchConfig& config,
                    void (*body)(void*),
                    void* argument) {
  LONGHAND_CHECK(current_ == nullptr) << "a kernel launches a kernel";
  if (Status status = CheckLaunch(config); !status.ok()) return status.WithContext(kernel);
  kernel_ = kernel;
  body_ = body;
  argument_ = argument;
  shuffled_ = config.schedule_seed != 0;
  random_ = config.schedule_seed;
  failed_ = false;
  shared_bytes_ = config.shared_bytes;
  void* memory = nullptr;
  // Not a byte more than was asked for, so that the address sanitizer sees the end.
  LONGHAND_CHECK(posix_memalign(&memory, 128, std::max<size_t>(shared_bytes_, 1)) == 0);
  shared_.reset(static_cast<char*>(memory));
  t_position.block_dim = config.block;
  t_position.grid_dim = config.grid;
  threads_.resize(config.block.count());

  std::vector<size_t> order(config.grid.count());
  std::iota(order.begin(), order.end(), size_t{0});
  if (shuffled_) {
    for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[Random() % (i + 1)]);
  }
  for (size_t block : order) {
    RunBlock(block);
    if (failed_) return Internal(message_);
  }
  return OkStatus();
}

void Machine::RunBlock(size_t block) {
  const Dim3& grid = t_position.grid_dim;
  const Dim3& dim = t_position.block_dim;
  t_position.block =
      Dim3(static_cast<unsigned>(block % grid.x), static_cast<unsigned>(block / grid.x % grid.y),
           static_cast<unsigned>(block / grid.x / grid.y));
  std::memset(shared_.get(), 0xff, shared_bytes_);
  num_alive_ = threads_.size();
  for (BarrierState& barrier : barriers_) barrier = {};
  landings_.clear();
  std::memset(in_operation_, 0, sizeof(in_operation_));
  std::memset(ended_, 0, sizeof(ended_));
  for (size_t i = 0; i < threads_.size(); ++i) {
    const auto index = static_cast<unsigned>(i);
    Thread& thread = threads_[i];
    thread.state = State::kNew;
    thread.position = Dim3(index % dim.x, index / dim.x % dim.y, index / dim.x / dim.y);
    thread.copies.clear();
    thread.next_group = 0;
    thread.products.list.clear();
    thread.products.next_group = 0;
    SetReady(static_cast<int>(i));
  }
  warp_ = 0;
  Resume(caller_, *Pick(), /*is_over=*/false);
  current_ = nullptr;
  CollectRetired();
  if (!failed_) return;
  // What ran is given up where it stands.
  free_stacks_.clear();
  for (auto& stack : stacks_) {
    ForgetStack(*stack);
    free_stacks_.push_back(stack.get());
  }
  std::memset(ready_, 0, sizeof(ready_));
  ready_warps_ = 0;
}

// A thread that ends hands its stack to the next one that has not begun: blocks that never wait
// need one stack and no switch.
void Machine::FiberMain() {
  Machine& machine = TheMachine();
  BeginFiber(*machine.previous_);
  machine.CollectRetired();
  for (;;) {
    machine.body_(machine.argument_);
    machine.Finish();
  }
}

void Machine::Finish() {
  Thread& ended = *current_;
  ended.state = State::kDone;
  ended_[index() / kWarp] |= 1u << index() % kWarp;
  if (!ended.copies.empty()) emulation::Fail("a thread ended before its asynchronous copies");
  if (!ended.products.list.empty()) emulation::Fail("a thread ended before its wgmma");
  --num_alive_;
  if (num_alive_ == 0 && !landings_.empty()) {
    emulation::Fail("the block ended before what was on its way to shared memory");
  }
  CheckBarriers();
  Fiber self = ended.fiber;
  Thread* next = num_alive_ == 0 ? nullptr : Pick();
  if (next != nullptr && next->state == State::kNew) {
    next->fiber = self;
    next->state = State::kReady;
    current_ = next;
    t_position.thread = next->position;
    return;
  }
  retired_ = self.stack;
  if (next == nullptr) ReturnToCaller(self);
  Resume(self, *next, /*is_over=*/true);
}

void Machine::ReturnToCaller(Fiber& from) {
  previous_ = &from;
  SwitchFiber(from, caller_, /*is_over=*/true);
}

void Machine::Resume(Fiber& from, Thread& to, bool is_over) {
  if (to.state == State::kNew) PrepareFiber(TakeStack(), &FiberMain, to.fiber);
  to.state = State::kReady;
  current_ = &to;
  t_position.thread = to.position;
  previous_ = &from;
  SwitchFiber(from, to.fiber, is_over);
}

void Machine::Yield() {
  Thread& self = *current_;
  Thread* next = Pick();
  if (next == &self) return;
  Resume(self.fiber, *next, /*is_over=*/false);
  CollectRetired();
}

void Machine::CollectRetired() {
  if (retired_ != nullptr) free_stacks_.push_back(retired_);
  retired_ = nullptr;
}

FiberStack* Machine::TakeStack() {
  if (free_stacks_.empty()) {
    stacks_.push_back(std::make_unique<FiberStack>());
    return stacks_.back().get();
  }
  FiberStack* stack = free_stacks_.back();
  free_stacks_.pop_back();
  return stack;
}

uint64_t Machine::Random() { return SplitMix64(random_); }

int Machine::PickBit(uint32_t bits) {
  const int turn = static_cast<int>(Random() % kWarp);
  return (std::countr_zero(std::rotr(bits, turn)) + turn) % kWarp;
}

// The lanes of one warp in order while they can go on, for their stacks are in the cache; or any.
Thread* Machine::Pick() {
  if (ready_warps_ == 0 && !LandForSleepers()) {
    DescribeDeadlock();
    emulation::Fail("%s", deadlock_.c_str());
  }
  int lane;
  if (shuffled_) {
    warp_ = PickBit(ready_warps_);
    lane = PickBit(ready_[warp_]);
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

void Machine::SetReady(int index) {
  ready_[index / kWarp] |= 1u << index % kWarp;
  ready_warps_ |= 1u << index / kWarp;
}

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

// Of each thread no more than its next arrival takes.
bool Machine::LandCopies(const uint64_t* barrier) {
  bool any = false;
  for (Thread& thread : threads_) {
    const auto arrival =
        std::find_if(thread.copies.begin(), thread.copies.end(),
                     [&](const PendingCopy& copy) { return copy.barrier == barrier; });
    if (arrival == thread.copies.end()) continue;
    const std::vector<PendingCopy> landing(thread.copies.begin(), arrival + 1);
    thread.copies.erase(thread.copies.begin(), arrival + 1);
    for (const PendingCopy& copy : landing) Land(copy);
    any = true;
  }
  return any;
}

void Machine::WaitInWarp(const char* name, uint32_t mask, Complete complete, void* slot) {
  const int warp = index() / kWarp, lane = index() % kWarp;
  const auto fail = [&](const char* what, uint32_t lanes) {
    emulation::Fail("%s with mask %x in lane %d: %s %x", name, mask, lane, what, lanes);
  };
  const size_t begin = static_cast<size_t>(warp) * kWarp;
  const size_t num_lanes = std::min<size_t>(kWarp, threads_.size() - begin);
  const uint32_t exist = num_lanes == kWarp ? ~0u : (1u << num_lanes) - 1;
  if ((mask >> lane & 1) == 0) fail("its mask lacks the lane itself, of", exist);
  if ((mask & ~exist) != 0) fail("the block has only lanes", exist);
  if ((mask & ended_[warp]) != 0) fail("it waits forever for the ended lanes", ended_[warp]);
  Thread& self = *current_;
  self.state = State::kInWarpOperation;
  self.operation = name;
  self.mask = mask;
  self.complete = complete;
  self.slot = slot;
  in_operation_[warp] |= 1u << lane;
  if ((in_operation_[warp] & mask) == mask) {
    void* slots[kWarp] = {};
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
      const int other = std::countr_zero(rest);
      Thread& thread = threads_[begin + static_cast<size_t>(other)];
      if (thread.mask != mask || thread.complete != complete) {
        fail("another operation or mask in lanes", 1u << other);
      }
      slots[other] = thread.slot;
      thread.state = State::kReady;
    }
    complete(slots, mask);
    in_operation_[warp] &= ~mask;
    ready_[warp] |= mask;
    ready_warps_ |= 1u << warp;
  }
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

void Machine::Fail(const char* format, va_list arguments) {
  const int length =
      std::snprintf(message_, sizeof(message_), "%s, block (%u, %u, %u), thread %d: ", kernel_,
                    t_position.block.x, t_position.block.y, t_position.block.z, index());
  const auto used = std::min(static_cast<size_t>(length), sizeof(message_));
  std::vsnprintf(message_ + used, sizeof(message_) - used, format, arguments);
  failed_ = true;
  Fiber given_up = current_->fiber;
  ReturnToCaller(given_up);
  std::abort();  // Nothing resumes a fiber that was given up.
}

}  // namespace

void* DynamicShared() { return TheMachine().shared(); }
int Lane() { return TheMachine().index() % kWarp; }

void Fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  TheMachine().Fail(format, arguments);
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

OpenProducts& ProductsOfThread() { return TheMachine().current().products; }

void WarpOperation(const char* name, uint32_t mask, Complete complete, void* slot) {
  TheMachine().WaitInWarp(name, mask, complete, slot);
}

void AsyncCopy(void* to_shared, const void* from, int bytes, int unit) {
  const auto size = static_cast<size_t>(unit);
  CheckShared("cp.async", to_shared, size, size);
  Thread& thread = TheMachine().current();
  if (reinterpret_cast<uintptr_t>(from) % size != 0) Fail("cp.async from a misaligned address");
  thread.copies.push_back({static_cast<char*>(to_shared), static_cast<const char*>(from), bytes,
                           unit, thread.next_group});
}

void ArriveAfterCopies(uint64_t* barrier) {
  CheckShared("cp.async.mbarrier.arrive", barrier, sizeof(uint64_t), alignof(uint64_t));
  Thread& thread = TheMachine().current();
  thread.copies.push_back({nullptr, nullptr, 0, 0, thread.next_group, barrier});
  Wake(barrier);
}
bool LandCopies(const uint64_t* barrier) { return TheMachine().LandCopies(barrier); }

void CommitCopies() { ++TheMachine().current().next_group; }

void WaitForCopies(int groups_in_flight) {
  Thread& thread = TheMachine().current();
  const int end = thread.next_group - groups_in_flight;
  size_t done = 0;
  while (done < thread.copies.size() && thread.copies[done].group < end) {
    Land(thread.copies[done++]);
  }
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<int64_t>(done));
}

void CheckShared(const char* what, const void* p, size_t bytes, size_t alignment) {
  const Machine& machine = TheMachine();
  const auto begin = reinterpret_cast<uintptr_t>(machine.shared());
  const auto address = reinterpret_cast<uintptr_t>(p);
  if (address < begin || address + bytes > begin + machine.shared_bytes()) {
    Fail("%s outside the block's %zu bytes of shared memory, at %td", what, machine.shared_bytes(),
         static_cast<ptrdiff_t>(address - begin));
  }
  if (address % alignment != 0) Fail("%s at a misaligned address", what);
}

Status RunGrid(const char* kernel,
               const LaunchConfig& config,
               void (*body)(void*),
               void* argument) {
  return TheMachine().Run(kernel, config, body, argument);
}

}  // namespace longhand::kernels::emulation
