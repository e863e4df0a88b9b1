// A stand-in for libnccl, for tests only: it moves bytes between ranks that are threads of this
// process, over the streams of host_stream.h, and fails on demand. As the real one it enqueues and
// returns, is still busy with a call when it returns, leaves a rank waiting whose peer does not
// come, and lets the waiting end by an abort on the waiting rank alone.
#pragma once

#include "worker/comm/nccl_api.h"

namespace longhand::comm::nccl_stand_in {

// The shared object's path, to be loaded as NCCL.
inline constexpr const char* kPath = LONGHAND_NCCL_STAND_IN;

// What ncclGetVersion() says from now on; 23007 at first.
void SetVersion(int version);
// Communicators that have `rank` from now on never finish their init; -1: none.
void HangInit(int rank);
// The init of communicators that have `rank` ends so from now on; -1: none.
void FailInit(int rank, nccl::Result result);
// Collectives of `rank` do not start from now on, as on a device that hangs; -1: none. They end by
// an abort.
void HangDevice(int rank);
// All live communicators of `rank` report `result` from now on.
void FailAsync(int rank, nccl::Result result);
// So many recordings hold calls of the communicators of `rank`: their abort lets waiting calls end,
// and returns when there is none left, as the real one's does.
void HoldInRecordings(int rank, int num_recordings);
// The calling thread has the device of its communicators, as after cudaSetDevice.
void UseOnThread();
// Communicators that were made and not aborted.
int LiveCommunicators();
// Calls that NCCL does not allow: while it was busy with another, on an aborted communicator, with
// sizes that differ; an abort on a thread without the device.
int Misuses();

}  // namespace longhand::comm::nccl_stand_in
