// cp.async: copies that land when they are waited for.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/emulation/machine.h"
#include "kernels/emulation/mbarrier.h"

namespace longhand::kernels::emulation {

thread_local constinit int64_t t_bytes_copied = 0;

namespace {

void Land(const PendingCopy& copy) {
  if (copy.barrier != nullptr) {
    ArriveAtMBarrier(copy.barrier, 0);
    return;
  }
  const auto bytes = static_cast<size_t>(copy.bytes);
  if (bytes > 0) std::memcpy(copy.to, copy.from, bytes);
  t_bytes_copied += static_cast<int64_t>(bytes);
  std::memset(copy.to + bytes, 0, static_cast<size_t>(copy.unit) - bytes);
  NoteWritten(copy.to, static_cast<size_t>(copy.unit));
}

}  // namespace

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

}  // namespace longhand::kernels::emulation
