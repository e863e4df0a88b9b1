// The part of NCCL's C interface that is used here, declared anew: the library is loaded when a
// group needs it, so that a worker starts without it. tests/unit/worker/comm/nccl_abi_test.cc holds
// this against NCCL's own header.
#pragma once

#include <climits>
#include <cstddef>

namespace longhand::comm::nccl {

struct Comm;           // ncclComm: only pointed at
using Stream = void*;  // cudaStream_t
struct UniqueId {
  char bytes[128];
};  // ncclUniqueId

// ncclResult_t
enum Result : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};

enum DataType : int { kUint8 = 1 };  // ncclDataType_t: bytes are all that is moved

// ncclConfig_t as of 2.17. Newer libraries read as much as `size` says, and take their defaults for
// the rest.
struct Config {
  size_t size = sizeof(Config);
  unsigned int magic = 0xcafebeef;
  unsigned int version = 21700;
  int blocking = INT_MIN;  // INT_MIN and null: the library's default
  int cga_cluster_size = INT_MIN;
  int min_ctas = INT_MIN;
  int max_ctas = INT_MIN;
  const char* net_name = nullptr;
};

// One member for each function, without its "nccl".
struct Api {
  Result (*GetVersion)(int* version) = nullptr;
  const char* (*GetErrorString)(Result result) = nullptr;
  const char* (*GetLastError)(Comm* comm) = nullptr;
  Result (*GetUniqueId)(UniqueId* id) = nullptr;
  Result (*CommInitRankConfig)(Comm** comm, int size, UniqueId id, int rank, Config* config) =
      nullptr;
  Result (*CommGetAsyncError)(Comm* comm, Result* state) = nullptr;
  Result (*CommAbort)(Comm* comm) = nullptr;
  Result (*GroupStart)() = nullptr;
  Result (*GroupEnd)() = nullptr;
  Result (*Send)(
      const void* data, size_t count, DataType type, int peer, Comm* comm, Stream stream) = nullptr;
  Result (*Recv)(void* data, size_t count, DataType type, int peer, Comm* comm, Stream stream) =
      nullptr;
  Result (*AllGather)(const void* local,
                      void* all,
                      size_t count,
                      DataType type,
                      Comm* comm,
                      Stream stream) = nullptr;
  Result (*Broadcast)(const void* in,
                      void* out,
                      size_t count,
                      DataType type,
                      int root,
                      Comm* comm,
                      Stream stream) = nullptr;
};

}  // namespace longhand::comm::nccl
