#include "worker/service/worker_server.h"

#include <grpcpp/health_check_service_interface.h>

#include <chrono>

#include "common/address.h"

namespace longhand::service {
namespace {

// A coordinator whose machine vanished says nothing; this notices. On the same machine its end
// closes the socket, and one that is only stopped may stay so for as long as it likes.
constexpr int kKeepaliveMs = 5000;
constexpr std::chrono::milliseconds kShutdownGrace{100};

}  // namespace

Result<std::unique_ptr<WorkerServer>> WorkerServer::Start(const std::string& address,
                                                          Executor& executor,
                                                          const std::string& metrics_address) {
  std::unique_ptr<WorkerServer> server(new WorkerServer(executor, metrics_address));
  // The worker is healthy when it answers: whether tokens can be made is for the coordinator to
  // say.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  int port = -1;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&server->service_);
  // Plans and pixels are the coordinator's; the runner bounds what it keeps.
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  if (!address.starts_with("unix:")) {
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  }
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || port <= 0) return Unavailable("cannot listen on ", address);
  server->address_ = address;
  if (!address.starts_with("unix:")) {
    LONGHAND_ASSIGN_OR_RETURN(Address bound, Address::Parse(address));
    bound.port = port;
    server->address_ = bound.ToString();
  }
  return server;
}

WorkerServer::~WorkerServer() {
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
}

}  // namespace longhand::service
