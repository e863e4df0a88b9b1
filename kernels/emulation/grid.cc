#include "kernels/emulation/grid.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "common/check.h"
#include "common/split_mix.h"
#include "kernels/emulation/machine.h"

namespace longhand::kernels::emulation {

thread_local constinit ThreadPosition t_position;
thread_local constinit Machine* t_machine = nullptr;

namespace {

// The launch before, as long as nobody has waited for it; and how it ended.
thread_local const NotedLaunch* t_previous = nullptr;
thread_local Status t_previous_status;
thread_local bool t_previous_runs = false;

constexpr size_t kMaxThreads = 1024;
constexpr size_t kMaxSharedBytes = 227 << 10;  // sm_90's; sm_80 has 163 KiB

}  // namespace

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
                    void* argument,
                    const Machine* outer) {
  if (Status status = CheckLaunch(config); !status.ok()) return status.WithContext(kernel);
  kernel_ = kernel;
  body_ = body;
  argument_ = argument;
  shuffled_ = config.schedule_seed != 0;
  begins_early_ = config.begins_early;
  caller_.stack = outer != nullptr ? outer->current_->fiber.stack : nullptr;
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
  has_waited_ = false;
  for (BarrierState& barrier : barriers_) barrier = {};
  landings_.clear();
  written_.assign(shared_bytes_ / 16 + 1, 0);
  num_fences_ = 0;
  std::memset(in_operation_, 0, sizeof(in_operation_));
  for (size_t warp = 0; warp < kWarp; ++warp) ended_[warp] = ~LanesOf(warp);
  for (size_t i = 0; i < threads_.size(); ++i) {
    const auto index = static_cast<unsigned>(i);
    Thread& thread = threads_[i];
    thread.state = State::kNew;
    thread.index = static_cast<int>(i);
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
  if (num_alive_ == 0 && begins_early_ && !has_waited_) {
    emulation::Fail("the block begins early, and ended without a wait for the launch before");
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

uint32_t Machine::LanesOf(size_t warp) const {
  const size_t count = threads_.size() - std::min(threads_.size(), warp * kWarp);
  return count < kWarp ? (1u << count) - 1 : ~0u;
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

int Machine::PickAnyLane() {
  warp_ = PickBit(ready_warps_);
  return PickBit(ready_[warp_]);
}

void Machine::LandOrFail() {
  if (LandForSleepers() || RunPrevious()) return;
  DescribeDeadlock();
  emulation::Fail("%s", deadlock_.c_str());
}

void Machine::WaitForPrevious() {
  has_waited_ = true;
  if (t_previous != nullptr) Sleep("griddepcontrol.wait", &t_previous);
}

bool Machine::RunPrevious() {
  if (t_previous == nullptr) return false;
  const NotedLaunch& previous = *std::exchange(t_previous, nullptr);
  t_previous_runs = true;
  t_previous_status = previous.run();
  t_previous_runs = false;
  if (!t_previous_status.ok()) emulation::Fail("the launch before failed");
  Wake(&t_previous);
  return ready_warps_ != 0;
}

void Machine::SetReady(int index) {
  ready_[index / kWarp] |= 1u << index % kWarp;
  ready_warps_ |= 1u << index / kWarp;
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

void WaitForPrevious() { TheMachine().WaitForPrevious(); }
void* DynamicShared() { return TheMachine().shared(); }
int Lane() { return TheMachine().index() % kWarp; }

void Fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  TheMachine().Fail(format, arguments);
}

OpenProducts& ProductsOfThread() { return TheMachine().current().products; }

void NoteWritten(const void* p, size_t bytes) {
  Machine& machine = TheMachine();
  for (size_t i = 0; i < bytes; i += 16) {
    machine.WrittenAt(static_cast<const char*>(p) + i) = machine.num_fences() + 1;
  }
}

void FenceForProducts() { TheMachine().Fence(); }

void CheckFenced(const void* p) {
  Machine& machine = TheMachine();
  if (machine.WrittenAt(p) > machine.num_fences()) {
    Fail("wgmma reads what was written without a fence behind it");
  }
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
  static thread_local Machine machine, machine_of_previous;
  Machine* const outer = t_machine;
  LONGHAND_CHECK(outer == nullptr || t_previous_runs) << "a kernel launches a kernel";
  const ThreadPosition position = t_position;
  t_machine = outer == nullptr ? &machine : &machine_of_previous;
  const Status status = t_machine->Run(kernel, config, body, argument, outer);
  t_machine = outer;
  t_position = position;
  return status;
}

Status LaunchTogether(const NotedLaunch& first, const NotedLaunch& second) {
  t_previous = &first;
  const Status status = second.run();
  t_previous = nullptr;
  LONGHAND_RETURN_IF_ERROR(std::exchange(t_previous_status, OkStatus()));
  return status;
}

}  // namespace longhand::kernels::emulation
