#include "kernels/emulation/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "common/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if !defined(__x86_64__)
#error "the switch between fibers is written for x86-64"
#endif

// Stores the callee-saved registers and the stack pointer of the caller, takes those of another
// fiber, and returns there. The floating-point control words are the same everywhere.
asm(R"(
    .text
    .align 16
    .globl longhand_switch_stack
    .hidden longhand_switch_stack
    .type longhand_switch_stack, @function
longhand_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size longhand_switch_stack, . - longhand_switch_stack
)");
extern "C" void longhand_switch_stack(void** save, void* load);

namespace longhand::kernels::emulation {
namespace {

constexpr size_t kPage = 4096;
constexpr int kSavedRegisters = 6;

#if defined(__SANITIZE_ADDRESS__)
// The thread's own stack has no FiberStack; the sanitizer names its bounds on the first switch.
thread_local const void* t_own_bottom = nullptr;
thread_local size_t t_own_bytes = 0;
#endif

}  // namespace

FiberStack::FiberStack() {
  void* memory = mmap(nullptr, kBytes + kPage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  LONGHAND_CHECK(memory != MAP_FAILED) << "no memory for a fiber's stack";
  LONGHAND_CHECK(mprotect(memory, kPage, PROT_NONE) == 0) << "no guard page";
  bottom_ = static_cast<char*>(memory) + kPage;
  static thread_local size_t next = 0;
  constexpr size_t kStep = 128;
  top_ = bottom_ + kBytes - kStep * next++ % kPage;
}

FiberStack::~FiberStack() { munmap(bottom_ - kPage, kBytes + kPage); }

void PrepareFiber(FiberStack* stack, void (*entry)(), Fiber& fiber) {
  // As a call leaves it: the return address at 8 below a multiple of 16, then `entry` to return to.
  auto* slots = reinterpret_cast<uint64_t*>(stack->top());
  slots[-1] = 0;
  slots[-2] = reinterpret_cast<uint64_t>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) slots[-3 - i] = 0;
  fiber = {.stack_pointer = &slots[-2 - kSavedRegisters], .stack = stack};
}

// Has no variables that the sanitizer would guard, so that its frame is not among those it clears.
__attribute__((no_sanitize_address)) void SwitchFiber(Fiber& from,
                                                      Fiber& to,
                                                      [[maybe_unused]] bool is_over) {
#if defined(__SANITIZE_ADDRESS__)
  if (is_over) {
    // The callers never return: their guards must not stay for the next fiber on this stack.
    char* frame = static_cast<char*>(__builtin_frame_address(0));
    __asan_unpoison_memory_region(frame, static_cast<size_t>(from.stack->top() - frame));
  }
  const void* bottom = to.stack == nullptr ? t_own_bottom : to.stack->bottom();
  const size_t bytes = to.stack == nullptr ? t_own_bytes : FiberStack::kBytes;
  __sanitizer_start_switch_fiber(is_over ? nullptr : &from.fake_stack, bottom, bytes);
#endif
  longhand_switch_stack(&from.stack_pointer, to.stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void BeginFiber([[maybe_unused]] Fiber& from) {
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (from.stack == nullptr) {
    t_own_bottom = bottom;
    t_own_bytes = bytes;
  }
#endif
}

void ForgetStack([[maybe_unused]] FiberStack& stack) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack.bottom(), FiberStack::kBytes);
#endif
}

}  // namespace longhand::kernels::emulation
