// WorkerLink: one worker process, whatever place it has: its channel and its heartbeat.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "common/clock.h"
#include "coordinator/cluster/heartbeat.h"
#include "longhand/worker/v1/worker.grpc.pb.h"

namespace longhand::cluster {

class WorkerLink {
 public:
  using Stub = worker::v1::Worker::Stub;
  enum class State {
    kDown,     // nobody answers there, or not any more
    kOpening,  // its first pulse is awaited
    kAlive,
  };

  // The address may be empty: nobody is there before it moves.
  explicit WorkerLink(std::string address) : address_(std::move(address)) {}
  // Waits for the last callback.
  ~WorkerLink();
  WorkerLink(const WorkerLink&) = delete;
  WorkerLink& operator=(const WorkerLink&) = delete;

  // Any thread.
  std::string address() const;
  State state() const;
  bool alive() const { return state() == State::kAlive; }
  Heartbeat heartbeat() const;
  // Of the process that is alive, or was.
  worker::v1::DescribeResponse description() const;
  // Of the channel that the latest Open made; null before.
  std::shared_ptr<Stub> stub() const;

  // Looks for a worker at the address, unless one is alive or looked for; does not wait.
  void Open();
  // Where to look for one from now on; who is alive, or looked for elsewhere, is let go.
  void MoveTo(const std::string& address);
  // Takes the worker for lost: its heartbeat ends.
  void Close();
  // So much time has passed, in which pulses were listened for.
  void OnTime(Duration passed);

 private:
  class PulseStream;

  // gRPC's threads.
  void OnPulse(const PulseStream& stream, const worker::v1::Pulse& pulse);
  void OnEnd(std::shared_ptr<PulseStream> stream);

  mutable std::mutex mutex_;
  std::string address_;
  std::condition_variable ended_;
  int num_streams_ = 0;  // whose last callback is still to come
  State state_ = State::kDown;
  std::shared_ptr<Stub> stub_;
  std::shared_ptr<PulseStream> stream_;  // null while down
  Heartbeat heartbeat_;
  worker::v1::DescribeResponse description_;
};

}  // namespace longhand::cluster
