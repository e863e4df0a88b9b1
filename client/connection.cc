#include "client/connection.h"

#include <cstdio>

#include "common/options/command_line.h"

namespace longhand::client {

void AddEndpointOption(CLI::App& app, Endpoint& endpoint) {
  app.add_option("--endpoint", endpoint.address, "host:port of the server's gRPC")
      ->capture_default_str()
      ->take_last();
}

void AddRetryOption(CLI::App& app, std::chrono::seconds& retry_for) {
  app.add_option_function<int64_t>(
         "--retry-for", [&](int64_t seconds) { retry_for = std::chrono::seconds(seconds); },
         "Seconds for which a lost connection or a server that is not there now is tried again")
      ->check(CLI::Range(0, 24 * 3600))
      ->default_str(std::to_string(retry_for.count()))
      ->take_last();
}

std::shared_ptr<grpc::Channel> Connect(const Endpoint& endpoint) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(-1);
  args.SetMaxSendMessageSize(-1);
  // A server that restarts is found again at once.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  // What one attempt may take; the processors may be busy.
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  return grpc::CreateCustomChannel(endpoint.address, grpc::InsecureChannelCredentials(), args);
}

int ReportFailure(const std::string& verb, const Endpoint& endpoint, const Status& status) {
  std::fprintf(stderr, "longhand %s: %s\n", verb.c_str(), status.ToString().c_str());
  if (status.code() == StatusCode::kUnavailable) {
    std::fprintf(stderr, "Is a server running at %s? `longhand serve --model DIR` starts one.\n",
                 endpoint.address.c_str());
  }
  return kExitFailed;
}

}  // namespace longhand::client
