// Runs a kernel's grid on the calling OS thread: blocks one after the other, each CUDA thread of a
// block a fiber. A fiber runs until it must wait for others: at a barrier, or in a warp operation.
//
// With a schedule seed other than 0, blocks and ready threads are taken in an order drawn from it.
// A kernel whose result depends on the order lacks a barrier.
//
// Found, and reported as kInternal with the kernel, block and threads: a warp operation that a lane
// of its mask does not take part in, threads that wait for each other forever, shared memory used
// out of bounds or misaligned by a wrapped intrinsic, wgmma of what no fence was put behind, a
// block that begins early and waits for nothing, launches that no device takes. Copies of cp.async
// and of the copy engine land when they are waited for and not before; dynamic shared memory begins
// as NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <tuple>
#include <utility>
#include <vector>

#include "common/status.h"
#include "kernels/emulation/matrix.h"
#include "kernels/emulation/mbarrier.h"

namespace longhand::kernels::emulation {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  // NOLINTNEXTLINE: implicit, as CUDA's dim3
  constexpr Dim3(unsigned x_value = 1, unsigned y_value = 1, unsigned z_value = 1)
      : x(x_value), y(y_value), z(z_value) {}
  size_t count() const { return size_t{x} * y * z; }
};

struct LaunchConfig {
  Dim3 grid;
  Dim3 block;
  size_t shared_bytes = 0;
  uint64_t schedule_seed = 0;
  // A thread of each block calls WaitForPrevious.
  bool begins_early = false;
};

// What of a launch a thread may ask for.
struct ThreadPosition {
  Dim3 thread, block, block_dim, grid_dim;
};
extern thread_local constinit ThreadPosition t_position;
inline const ThreadPosition& Position() { return t_position; }

// As a device may, where the second launch begins early: the first is done when, of the block that
// comes first, all threads wait for it or for others.
struct NotedLaunch {
  std::function<Status()> run;
  bool begins_early;
};
Status LaunchTogether(const NotedLaunch& first, const NotedLaunch& second);
void WaitForPrevious();

// Dynamic shared memory of the current block.
void* DynamicShared();

// Waits until `num_threads` threads of the block, or with 0 all that have not ended, are here.
void Barrier(int id, int num_threads);
// The same, and whether any of them had the predicate.
bool BarrierOr(int id, int num_threads, bool predicate);
// Counts as one of them and goes on.
void ArriveAtBarrier(int id, int num_threads);

// Waits, in an operation of that name, until a thread wakes all that wait for `place`.
void Sleep(const char* name, const void* place);
void Wake(const void* place);

// Waits until every lane of `mask` is in the same operation; then `complete` runs once with each
// lane's slot, and all go on. Slots may lie on the lanes' stacks.
using Complete = void (*)(void* const (&slots)[32], uint32_t mask);
void WarpOperation(const char* name, uint32_t mask, Complete complete, void* slot);
int Lane();

// The copy happens in WaitForCopies. `bytes` are copied and the rest of `unit`, 16 or 4, is zeroed.
void AsyncCopy(void* to_shared, const void* from, int bytes, int unit);
void CommitCopies();
void WaitForCopies(int groups_in_flight);
// Arrives at the barrier (mbarrier.h) once this thread's copies so far have landed: when they are
// waited for, or somebody waits for the barrier. LandCopies: true where somebody's copies now have.
void ArriveAfterCopies(uint64_t* barrier);
bool LandCopies(const uint64_t* barrier);
// wgmma (matrix.h) of this thread that are not done yet: its part of each, in order.
struct OpenProduct {
  Product product;
  int group;
};
struct OpenProducts {
  std::vector<OpenProduct> list;
  int next_group = 0;
};
OpenProducts& ProductsOfThread();

// What all of them have brought so far, of this OS thread's launches.
extern thread_local constinit int64_t t_bytes_copied;

// Something that lands in shared memory once a thread sleeps for `place`: with a plain schedule
// when nothing else can go on, else at any time from then on. A block must not end before.
struct Landing {
  const void* place;
  void (*land)(const Landing&);
  BoxMap from;  // not the thread's, which may end before
  void* to;
  int first[5];
};
void Await(const Landing& landing);

// What instructions other than the copy engine's write to shared memory, wgmma reads behind a
// fence. Plain stores are not seen.
void NoteWritten(const void* p, size_t bytes);
void FenceForProducts();
void CheckFenced(const void* p);

// Ends the launch unless [p, p + bytes) is dynamic shared memory, at a multiple of `alignment`.
void CheckShared(const char* what, const void* p, size_t bytes, size_t alignment);

// Ends the launch: it returns kInternal. The caller's stack is given up as it is, so nothing on it
// may own memory.
[[noreturn]] __attribute__((format(printf, 1, 2))) void Fail(const char* format, ...);

Status RunGrid(const char* kernel, const LaunchConfig& config, void (*body)(void*), void* argument);

template <typename... Parameters, typename... Arguments>
Status Launch(const char* name,
              const LaunchConfig& config,
              void (*kernel)(Parameters...),
              Arguments&&... arguments) {
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  auto body = [&] { std::apply(kernel, values); };
  return RunGrid(name, config, [](void* self) { (*static_cast<decltype(body)*>(self))(); }, &body);
}

}  // namespace longhand::kernels::emulation
