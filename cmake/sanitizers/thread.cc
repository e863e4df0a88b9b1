// Linked into every program that is built with the thread sanitizer: what it cannot see of gRPC,
// which comes from the system and is not instrumented, and what it is mistaken about.
//
// What is handed to gRPC is seen by the callback, or call, that gets it back. gRPC passes it on
// through locks and atomics that the sanitizer does not see, so that all that a callback touches
// would be a race. These functions stand before those of the same names in gRPC's and Abseil's
// libraries, and say what each of them orders, and no more: what two callbacks share is still ours
// to order.
#include <absl/synchronization/mutex.h>
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <grpcpp/support/server_callback.h>
#include <sanitizer/tsan_interface.h>

namespace {

// The function that `symbol` would be without us, as it is called.
template <typename Function>
Function* Next(const char* symbol) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, symbol));
}

}  // namespace

extern "C" {

// What gRPC's libraries, and Gloo, themselves read, copy and free is theirs to order. This is no
// word on frames of ours: it concerns only what these libraries call of the C library; and the
// header's function that copies out of the library why a call ended.
const char* __tsan_default_suppressions() {
  return "race:grpc::internal::CallOpClientRecvStatus::FinishOp\n"
         "called_from_lib:libgrpc++.so\n"
         "called_from_lib:libgrpc.so\n"
         "called_from_lib:libgpr.so\n"
         "called_from_lib:libupb.so\n"
         "called_from_lib:libabsl_synchronization.so\n"
         "called_from_lib:libabsl_graphcycles_internal.so\n"
         "called_from_lib:libabsl_strings.so\n"
         "called_from_lib:libabsl_cord.so\n"
         "called_from_lib:libabsl_status.so\n"
         "called_from_lib:libabsl_malloc_internal.so\n"
         "called_from_lib:libabsl_time_zone.so\n"
         "called_from_lib:libgloo.so\n"
         "race:gloo::Context::~Context\n";
}

// An operation, and the callback that is told of its end.
grpc_call_error grpc_call_start_batch(
    grpc_call* call, const grpc_op* ops, size_t num_ops, void* tag, void* reserved) {
  static auto* const next = Next<decltype(grpc_call_start_batch)>("grpc_call_start_batch");
  __tsan_release(tag);
  return next(call, ops, num_ops, tag, reserved);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue,
                                      gpr_timespec deadline,
                                      void* reserved) {
  static auto* const next =
      Next<decltype(grpc_completion_queue_next)>("grpc_completion_queue_next");
  const grpc_event event = next(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue,
                                       void* tag,
                                       gpr_timespec deadline,
                                       void* reserved) {
  static auto* const next =
      Next<decltype(grpc_completion_queue_pluck)>("grpc_completion_queue_pluck");
  const grpc_event event = next(queue, tag, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

}  // extern "C"

// OnDone comes when all other callbacks of a call have returned. They are counted by an atomic, the
// first member, partly in gRPC's headers, which is seen, and partly in its library, which is not.
// Both that and OnCancel come on the thread at hand, as they do for reactors that gRPC knows to be
// quick, instead of on another one.
void grpc::internal::ServerCallbackCall::ScheduleOnDone(bool) {
  static_assert(sizeof(ServerCallbackCall) == 16, "a pointer to virtual functions and the count");
  static auto* const next = Next<void(ServerCallbackCall*, bool)>(
      "_ZN4grpc8internal18ServerCallbackCall14ScheduleOnDoneEb");
  __tsan_acquire(reinterpret_cast<char*>(this) + 8);
  next(this, /*inline_ondone=*/true);
}

void grpc::internal::ServerCallbackCall::CallOnCancel(ServerReactor* reactor) {
  __tsan_acquire(reinterpret_cast<char*>(this) + 8);
  reactor->OnCancel();
  __tsan_release(reinterpret_cast<char*>(this) + 8);
}

// The locks, in gRPC's headers too.
void absl::Mutex::Lock() {
  static auto* const next = Next<void(Mutex*)>("_ZN4absl7debian35Mutex4LockEv");
  next(this);
  __tsan_acquire(this);
}

bool absl::Mutex::TryLock() {
  static auto* const next = Next<bool(Mutex*)>("_ZN4absl7debian35Mutex7TryLockEv");
  const bool is_locked = next(this);
  if (is_locked) __tsan_acquire(this);
  return is_locked;
}

void absl::Mutex::Unlock() {
  static auto* const next = Next<void(Mutex*)>("_ZN4absl7debian35Mutex6UnlockEv");
  __tsan_release(this);
  next(this);
}

void absl::CondVar::Wait(Mutex* mutex) {
  static auto* const next =
      Next<void(CondVar*, Mutex*)>("_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE");
  __tsan_release(mutex);
  next(this, mutex);
  __tsan_acquire(mutex);
}

bool absl::CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static auto* const next = Next<bool(CondVar*, Mutex*, Duration)>(
      "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  __tsan_release(mutex);
  const bool is_late = next(this, mutex, timeout);
  __tsan_acquire(mutex);
  return is_late;
}

bool absl::CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static auto* const next = Next<bool(CondVar*, Mutex*, Time)>(
      "_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  __tsan_release(mutex);
  const bool is_late = next(this, mutex, deadline);
  __tsan_acquire(mutex);
  return is_late;
}
