#include "proto/grpc_log.h"

#include <grpc/support/log.h>

#include <cstdlib>
#include <mutex>

namespace longhand {
namespace {

std::mutex mutex;
GrpcLog::Take taker = nullptr;  // guarded by it

void SetTaker(GrpcLog::Take take) {
  std::lock_guard lock(mutex);
  taker = take;
}

void Pass(gpr_log_func_args* message) {
  std::lock_guard lock(mutex);
  if (taker != nullptr && message->severity == GPR_LOG_SEVERITY_ERROR) taker(message->message);
}

}  // namespace

GrpcLog::GrpcLog(Take take) {
  SetTaker(take);
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function(&Pass);
}

GrpcLog::~GrpcLog() { SetTaker(nullptr); }

}  // namespace longhand
