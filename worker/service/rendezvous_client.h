// RendezvousClient: the KeyValueStore that the coordinator keeps, over gRPC.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "longhand/worker/v1/worker.grpc.pb.h"
#include "worker/comm/key_value_store.h"

namespace longhand::service {

class RendezvousClient final : public comm::KeyValueStore {
 public:
  // host:port or unix:PATH of the coordinator's Rendezvous service. Connects when it is first used.
  explicit RendezvousClient(std::string address) : address_(std::move(address)) {}

  Status Set(std::string_view key, std::string_view value) override;
  // Asks again and again: the service does not wait.
  Result<std::string> Get(std::string_view key,
                          std::chrono::milliseconds timeout,
                          std::stop_token stop) override;

 private:
  worker::v1::Rendezvous::Stub& stub();

  const std::string address_;
  std::once_flag connect_;
  std::unique_ptr<worker::v1::Rendezvous::Stub> stub_;
};

}  // namespace longhand::service
