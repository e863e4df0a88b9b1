// WatchCall: one Watch RPC. Sends the worker's heartbeat, one pulse at a time.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <mutex>

#include "longhand/worker/v1/worker.grpc.pb.h"
#include "worker/service/executor.h"

namespace longhand::service {

// Only gRPC's threads run here: a pulse also shows that they turn.
class WatchCall final : public grpc::ServerWriteReactor<worker::v1::Pulse> {
 public:
  // gRPC owns the call: it lives until OnDone, and until its alarm has rung.
  static WatchCall* Start(const worker::v1::WatchRequest& request,
                          worker::v1::DescribeResponse description,
                          const Executor& executor);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { self_.reset(); }

 private:
  WatchCall(std::chrono::milliseconds period, const Executor& executor)
      : executor_(executor), period_(period) {}

  void SendPulse();
  void OnAlarm();
  void FinishLocked();

  const Executor& executor_;
  const std::chrono::milliseconds period_;
  worker::v1::Pulse pulse_;
  std::shared_ptr<WatchCall> self_;  // gRPC's reference

  std::mutex mutex_;
  grpc::Alarm alarm_;
  std::shared_ptr<WatchCall> alarms_self_;  // the alarm's reference, while it is set
  bool cancelled_ = false;
  bool finished_ = false;
};

}  // namespace longhand::service
