// ConfigureCall: one Configure RPC. Streams progress while the executor sets up, the latest when
// the peer is slow.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <optional>

#include "common/status.h"
#include "longhand/worker/v1/worker.grpc.pb.h"
#include "worker/service/executor.h"

namespace longhand::service {

class ConfigureCall final : public grpc::ServerWriteReactor<worker::v1::ConfigureProgress> {
 public:
  // gRPC owns the call: it lives until OnDone, and as long as the executor may report to it.
  static grpc::ServerWriteReactor<worker::v1::ConfigureProgress>* Start(
      const worker::v1::ConfigureRequest& request, Executor& executor);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { self_.reset(); }

 private:
  explicit ConfigureCall(Executor& executor) : executor_(executor) {}

  void Report(const SetupProgress& progress);
  void End(const Status& status);
  void WriteNextLocked();

  Executor& executor_;
  int64_t epoch_ = 0;                    // 0: refused
  std::shared_ptr<ConfigureCall> self_;  // gRPC's reference

  std::mutex mutex_;
  bool writing_ = false;
  worker::v1::ConfigureProgress in_flight_;
  std::optional<worker::v1::ConfigureProgress> next_;
  std::optional<Status> end_;
  bool finished_ = false;
};

}  // namespace longhand::service
