// A fiber: a stack of its own and a place in a function, to which another fiber of the same OS
// thread may switch. x86-64, System V.
#pragma once

#include <cstddef>
#include <vector>

namespace longhand::kernels::emulation {

// Memory for one fiber's stack, with a page below it that must not be touched. Stacks begin at
// different places of their pages, so that the frames of a warp's lanes fit a cache together.
class FiberStack {
 public:
  static constexpr size_t kBytes = size_t{256} << 10;

  FiberStack();
  ~FiberStack();
  FiberStack(const FiberStack&) = delete;
  FiberStack& operator=(const FiberStack&) = delete;

  char* bottom() const { return bottom_; }
  char* top() const { return top_; }

 private:
  char* bottom_;
  char* top_;
};

// Where a fiber stopped, and what the address sanitizer must know about it.
struct Fiber {
  void* stack_pointer = nullptr;
  FiberStack* stack = nullptr;  // null: the thread's own stack
  void* fake_stack = nullptr;   // the sanitizer's
};

// Makes `fiber` begin in `entry` when it is switched to. `entry` must never return.
void PrepareFiber(FiberStack* stack, void (*entry)(), Fiber& fiber);

// Leaves `from` and goes on in `to`; returns when something switches back to `from`. A fiber that
// `is_over` is never returned to.
void SwitchFiber(Fiber& from, Fiber& to, bool is_over = false);

// A fiber's entry calls it first. `from` is the fiber that switched to it.
void BeginFiber(Fiber& from);

// Nothing on the stack lives any more, wherever its fiber stopped.
void ForgetStack(FiberStack& stack);

}  // namespace longhand::kernels::emulation
