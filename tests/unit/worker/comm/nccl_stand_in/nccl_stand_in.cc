#include "tests/unit/worker/comm/nccl_stand_in/nccl_stand_in.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/worker/comm/nccl_stand_in/host_stream.h"

namespace longhand::comm::nccl {

// A message lies with its sender until the receiver has copied it.
struct Message {
  const void* data = nullptr;
  size_t bytes = 0;
  bool taken = false;
};

// What the ranks of one unique id share. All members are guarded by the one mutex of this file.
struct Group {
  int size = 0;
  int joined = 0;
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<Message>>> in_flight;  // by (from, to)
};

struct Comm {
  std::shared_ptr<Group> group;
  int rank = 0;
  bool aborted = false;
  bool hangs = false;
  Result async_error = kSuccess;
  int busy_polls = 0;  // so often it still answers kInProgress
};

struct Transfer {
  int peer = 0;
  void* data = nullptr;
  size_t bytes = 0;
};

struct Launch {
  Stream stream = nullptr;
  std::vector<Transfer> sends;
  std::vector<Transfer> receives;
};

namespace {

std::mutex mutex;
std::condition_variable changed;
std::map<std::string, std::shared_ptr<Group>> groups;
// Aborted ones too, so that a late call is found. Streams may still hold them.
std::map<Comm*, std::shared_ptr<Comm>> comms;
int next_id = 0;
int version = 23007;
int init_hangs = -1;
int init_fails = -1;
Result init_failure = kSuccess;
int device_hangs = -1;
std::map<int, int> recordings;  // by rank
int misuses = 0;
thread_local bool has_device = false;

thread_local int group_depth = 0;
thread_local std::map<Comm*, Launch> grouped;

// On the stream's thread: what a kernel does.
void Run(const std::shared_ptr<Comm>& comm, const Launch& launch) {
  std::unique_lock lock(mutex);
  Group& group = *comm->group;
  const auto wait = [&](const auto& done) {
    changed.wait(lock, [&] { return comm->aborted || (!comm->hangs && done()); });
    return !comm->aborted;
  };
  if (!wait([] { return true; })) return;
  std::vector<std::shared_ptr<Message>> sent;
  for (const Transfer& send : launch.sends) {
    sent.push_back(std::make_shared<Message>(Message{send.data, send.bytes}));
    group.in_flight[{comm->rank, send.peer}].push_back(sent.back());
  }
  changed.notify_all();
  for (const Transfer& receive : launch.receives) {
    auto& queue = group.in_flight[{receive.peer, comm->rank}];
    if (!wait([&] { return !queue.empty(); })) break;
    Message& message = *queue.front();
    if (message.bytes != receive.bytes) ++misuses;
    if (message.data != receive.data) {
      std::memmove(receive.data, message.data, std::min(message.bytes, receive.bytes));
    }
    message.taken = true;
    queue.pop_front();
    changed.notify_all();
  }
  for (size_t i = 0; i < sent.size(); ++i) {
    if (wait([&] { return sent[i]->taken; })) continue;
    // Aborted: the memory may go, so nobody may read it any more.
    std::erase(group.in_flight[{comm->rank, launch.sends[i].peer}], sent[i]);
  }
}

// `comm`, if a call to it is allowed now. With the mutex held.
std::shared_ptr<Comm> Usable(Comm* comm) {
  const auto found = comms.find(comm);
  if (found == comms.end() || found->second->aborted || found->second->busy_polls > 0 ||
      found->second->group->joined < found->second->group->size) {
    ++misuses;
    return nullptr;
  }
  return found->second;
}

Result Start(Comm* comm, Launch launch) {
  std::lock_guard lock(mutex);
  const std::shared_ptr<Comm> shared = Usable(comm);
  if (shared == nullptr) return kInvalidUsage;
  if (shared->async_error != kSuccess) return shared->async_error;
  if (comm->rank == device_hangs) comm->hangs = true;
  static_cast<HostStream*>(launch.stream)->Enqueue([shared, launch = std::move(launch)] {
    Run(shared, launch);
  });
  comm->busy_polls = 2;
  return kInProgress;
}

Result Call(Comm* comm, Launch launch) {
  if (group_depth == 0) return Start(comm, std::move(launch));
  Launch& all = grouped[comm];
  all.stream = launch.stream;
  all.sends.insert(all.sends.end(), launch.sends.begin(), launch.sends.end());
  all.receives.insert(all.receives.end(), launch.receives.begin(), launch.receives.end());
  return kSuccess;
}

void* AddressAt(void* base, size_t bytes, int idx) {
  return static_cast<std::byte*>(base) + bytes * static_cast<size_t>(idx);
}

}  // namespace

extern "C" {

Result ncclGetVersion(int* out) {
  std::lock_guard lock(mutex);
  *out = version;
  return kSuccess;
}

const char* ncclGetErrorString(Result result) {
  return result == kInvalidUsage  ? "invalid usage"
         : result == kRemoteError ? "remote error"
                                  : "error";
}

const char* ncclGetLastError(Comm*) { return "as the test asked"; }

Result ncclGetUniqueId(UniqueId* id) {
  std::lock_guard lock(mutex);
  std::memset(id->bytes, 0, sizeof(id->bytes));
  std::snprintf(id->bytes, sizeof(id->bytes), "stand-in %d", ++next_id);
  return kSuccess;
}

Result ncclCommInitRankConfig(Comm** out, int size, UniqueId id, int rank, Config* config) {
  std::lock_guard lock(mutex);
  if (config->blocking != 0 || config->magic != 0xcafebeef) return kInvalidArgument;
  std::shared_ptr<Group>& group = groups[std::string(id.bytes, sizeof(id.bytes))];
  if (group == nullptr) group = std::make_shared<Group>(Group{.size = size});
  if (group->size != size) ++misuses;
  auto comm = std::make_shared<Comm>();
  comm->group = group;
  comm->rank = rank;
  if (rank != init_hangs) ++group->joined;
  if (rank == init_fails) comm->async_error = init_failure;
  *out = comm.get();
  comms[*out] = std::move(comm);
  return kInProgress;
}

Result ncclCommGetAsyncError(Comm* comm, Result* state) {
  std::lock_guard lock(mutex);
  if (!comms.contains(comm) || comm->aborted) {
    ++misuses;
    return kInvalidArgument;
  }
  const bool forming = comm->group->joined < comm->group->size;
  *state = comm->async_error != kSuccess                                 ? comm->async_error
           : forming || (comm->busy_polls > 0 && comm->busy_polls-- > 0) ? kInProgress
                                                                         : kSuccess;
  return kSuccess;
}

Result ncclCommAbort(Comm* comm) {
  std::unique_lock lock(mutex);
  if (!comms.contains(comm) || comm->aborted || !has_device) ++misuses;
  comm->aborted = true;
  changed.notify_all();
  changed.wait(lock, [&] { return recordings[comm->rank] == 0; });
  return kSuccess;
}

Result ncclGroupStart() {
  ++group_depth;
  return kSuccess;
}

Result ncclGroupEnd() {
  if (--group_depth > 0) return kSuccess;
  Result result = kSuccess;
  for (auto& [comm, launch] : grouped) result = Start(comm, std::move(launch));
  grouped.clear();
  return result;
}

Result ncclSend(const void* data, size_t count, DataType, int peer, Comm* comm, Stream stream) {
  return Call(comm, {stream, {{peer, const_cast<void*>(data), count}}, {}});
}

Result ncclRecv(void* data, size_t count, DataType, int peer, Comm* comm, Stream stream) {
  return Call(comm, {stream, {}, {{peer, data, count}}});
}

Result ncclAllGather(
    const void* local, void* all, size_t count, DataType, Comm* comm, Stream stream) {
  Launch launch{.stream = stream};
  for (int r = 0; r < comm->group->size; ++r) {
    launch.sends.push_back({r, const_cast<void*>(local), count});
    launch.receives.push_back({r, AddressAt(all, count, r), count});
  }
  return Call(comm, std::move(launch));
}

Result ncclBroadcast(
    const void* in, void* out, size_t count, DataType, int root, Comm* comm, Stream stream) {
  Launch launch{.stream = stream, .receives = {{root, out, count}}};
  if (comm->rank == root) {
    for (int r = 0; r < comm->group->size; ++r) {
      launch.sends.push_back({r, const_cast<void*>(in), count});
    }
  }
  return Call(comm, std::move(launch));
}

}  // extern "C"
}  // namespace longhand::comm::nccl

namespace longhand::comm::nccl_stand_in {

void SetVersion(int version) {
  std::lock_guard lock(nccl::mutex);
  nccl::version = version;
}

void HangInit(int rank) {
  std::lock_guard lock(nccl::mutex);
  nccl::init_hangs = rank;
}

void FailInit(int rank, nccl::Result result) {
  std::lock_guard lock(nccl::mutex);
  nccl::init_fails = rank;
  nccl::init_failure = result;
}

void HangDevice(int rank) {
  std::lock_guard lock(nccl::mutex);
  nccl::device_hangs = rank;
}

void FailAsync(int rank, nccl::Result result) {
  std::lock_guard lock(nccl::mutex);
  for (const auto& [comm, shared] : nccl::comms) {
    if (comm->rank == rank && !comm->aborted) comm->async_error = result;
  }
}

void UseOnThread() { nccl::has_device = true; }

void HoldInRecordings(int rank, int num_recordings) {
  std::lock_guard lock(nccl::mutex);
  nccl::recordings[rank] = num_recordings;
  nccl::changed.notify_all();
}

int LiveCommunicators() {
  std::lock_guard lock(nccl::mutex);
  int live = 0;
  for (const auto& [comm, shared] : nccl::comms) live += comm->aborted ? 0 : 1;
  return live;
}

int Misuses() {
  std::lock_guard lock(nccl::mutex);
  return nccl::misuses;
}

}  // namespace longhand::comm::nccl_stand_in
