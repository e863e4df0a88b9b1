// WatchCall: one Watch RPC. Sends the worker's heartbeat, one pulse at a time.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <mutex>

#include "longhand/worker/v1/worker.grpc.pb.h"
#include "worker/service/executor.h"
#include "worker/service/steady_timer.h"

namespace longhand::service {

// The timer only begins a pulse, and only when gRPC's threads have sent the one before: a pulse
// also shows that they turn.
class WatchCall final : public grpc::ServerWriteReactor<worker::v1::Pulse> {
 public:
  // gRPC owns the call: it lives until OnDone, and while the timer, which outlives the server, has
  // it.
  static WatchCall* Start(const worker::v1::WatchRequest& request,
                          worker::v1::DescribeResponse description,
                          const Executor& executor,
                          SteadyTimer& timer);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { self_.reset(); }

 private:
  WatchCall(std::chrono::milliseconds period, const Executor& executor, SteadyTimer& timer)
      : executor_(executor), timer_(timer), period_(period) {}

  void SendPulse();
  void OnTime();
  void FinishLocked();

  const Executor& executor_;
  SteadyTimer& timer_;
  const std::chrono::milliseconds period_;
  worker::v1::Pulse pulse_;
  std::shared_ptr<WatchCall> self_;  // gRPC's reference

  std::mutex mutex_;
  bool is_waiting_ = false;  // for the time of the next pulse
  bool cancelled_ = false;
  bool finished_ = false;
};

}  // namespace longhand::service
