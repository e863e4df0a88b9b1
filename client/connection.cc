#include "client/connection.h"

#include <cstdio>

#include "common/options/command_line.h"

namespace longhand::client {

void AddEndpointOption(CLI::App& app, Endpoint& endpoint) {
  app.add_option("--endpoint", endpoint.address, "host:port of the server's gRPC")
      ->capture_default_str()
      ->take_last();
}

std::shared_ptr<grpc::Channel> Connect(const Endpoint& endpoint) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(-1);
  args.SetMaxSendMessageSize(-1);
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
