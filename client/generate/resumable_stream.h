// ResumableStream: the events of one request, across lost connections and servers that restart.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "common/status.h"
#include "longhand/v1/generation.grpc.pb.h"

namespace longhand::client {

// One thread at a time. A server that cannot be reached at all is an error after two seconds,
// unless it was there before (ExpectServer); later, and when a server says UNAVAILABLE, the stream
// is attached to again, until no call has lasted for `retry_for`. Each event comes once.
class ResumableStream {
 public:
  // A new request, or the one that runs under its request_id, which must be set.
  static ResumableStream Generate(std::shared_ptr<grpc::Channel> channel,
                                  v1::GenerateRequest request,
                                  std::chrono::seconds retry_for);
  // The same for a document.
  static ResumableStream WriteDocument(std::shared_ptr<grpc::Channel> channel,
                                       v1::WriteDocumentRequest request,
                                       std::chrono::seconds retry_for);
  // One that the server has, from event `from` on.
  static ResumableStream Attach(std::shared_ptr<grpc::Channel> channel,
                                const std::string& request_id,
                                int64_t from,
                                std::chrono::seconds retry_for);

  // Before the first Read: the server has answered others, or somebody has said how long it may be
  // away, so its absence is trouble that passes.
  void ExpectServer() { expects_server_ = true; }
  // Lost connections end the stream once `flag`, which outlives it, is set.
  void GiveUpWhen(const std::atomic<bool>& flag) { gives_up_ = &flag; }
  // False at the end, which status() tells.
  bool Read(v1::GenerateEvent* event);
  const Status& status() const { return status_; }

 private:
  using Clock = std::chrono::steady_clock;
  using Reader = grpc::ClientReader<v1::GenerateEvent>;
  using Begin = std::function<std::unique_ptr<Reader>(v1::Generation::Stub&, grpc::ClientContext*)>;

  // `begin` may be empty: the server has the request.
  ResumableStream(std::shared_ptr<grpc::Channel> channel,
                  std::string request_id,
                  Begin begin,
                  int64_t next_seq,
                  std::chrono::seconds retry_for);
  void Open();
  void Pause();
  bool MayRetry();

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Generation::Stub> stub_;
  std::string request_id_;
  Begin begin_;  // empty once an event has come: before, the request may be unknown
  bool expects_server_ = false;
  const std::atomic<bool>* gives_up_ = nullptr;
  int64_t next_seq_ = 1;
  std::chrono::seconds retry_for_;
  std::chrono::milliseconds pause_{0};
  Clock::time_point opened_at_;   // the present call
  Clock::time_point trouble_at_;  // while pause_ is not 0: since when

  std::unique_ptr<grpc::ClientContext> context_;  // outlives the reader
  std::unique_ptr<Reader> reader_;
  Status status_;
};

}  // namespace longhand::client
