#include "worker/service/rendezvous_client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "proto/grpc_status.h"

namespace longhand::service {
namespace {

namespace wire = worker::v1;
using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kCallTimeout{10};
// Between two questions for a key: it grows, because the slowest rank may load weights first.
constexpr std::chrono::milliseconds kFirstPause{2};
constexpr std::chrono::milliseconds kLongestPause{50};

// Returns early when `stop` is requested.
void Pause(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any woken;
  std::unique_lock lock(mutex);
  woken.wait_for(lock, stop, time, [] { return false; });
}

}  // namespace

wire::Rendezvous::Stub& RendezvousClient::stub() {
  std::call_once(connect_, [this] {
    stub_ = wire::Rendezvous::NewStub(
        grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()));
  });
  return *stub_;
}

Status RendezvousClient::Set(std::string_view key, std::string_view value) {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
  wire::SetValueRequest request;
  request.set_key(std::string(key));
  request.set_value(std::string(value));
  wire::SetValueResponse response;
  return FromGrpc(stub().SetValue(&context, request, &response)).WithContext("rendezvous");
}

Result<std::string> RendezvousClient::Get(std::string_view key,
                                          std::chrono::milliseconds timeout,
                                          std::stop_token stop) {
  const auto deadline = SteadyClock::now() + timeout;
  wire::GetValueRequest request;
  request.set_key(std::string(key));
  for (std::chrono::milliseconds pause = kFirstPause;; pause = std::min(2 * pause, kLongestPause)) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(
        std::chrono::system_clock::now() +
        std::min<SteadyClock::duration>(deadline - SteadyClock::now(), kCallTimeout));
    const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
    wire::GetValueResponse response;
    const Status status = FromGrpc(stub().GetValue(&context, request, &response));
    if (status.ok()) return response.value();
    if (stop.stop_requested()) return Aborted("stopped while waiting for ", key);
    if (SteadyClock::now() >= deadline) {
      return DeadlineExceeded("nobody set ", key, " within ", timeout.count(), " ms");
    }
    if (status.code() != StatusCode::kNotFound) return status.WithContext("rendezvous");
    Pause(pause, stop);
  }
}

}  // namespace longhand::service
