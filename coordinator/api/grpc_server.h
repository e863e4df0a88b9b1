// GrpcServer: a listening gRPC server with health checks and reflection.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "coordinator/api/connection_acceptor.h"
#include "coordinator/api/reflection_service.h"

namespace longhand::api {

struct GrpcServerConfig {
  std::string address;   // host:port; port 0 picks one
  std::string tls_cert;  // PEM files; empty: plain
  std::string tls_key;
  int64_t max_receive_bytes = 4 << 20;
  std::vector<grpc::Service*> services;    // outlive the server
  std::vector<std::string> service_names;  // full names, for reflection and health; empty: neither
  std::function<void()> on_refused;        // of each connection for want of descriptors; any thread
};

class GrpcServer {
 public:
  // kInvalidArgument when a file of TLS cannot be read, kUnavailable when the address cannot be
  // bound.
  static Result<std::unique_ptr<GrpcServer>> Start(const GrpcServerConfig& config);
  // Lets calls end for a moment, then cancels them.
  ~GrpcServer();

  const std::string& address() const { return address_; }  // with the real port
  // What grpc.health.v1 says of the server and of each service. Any thread.
  void SetServing(bool serving);

 private:
  explicit GrpcServer(std::vector<std::string> names)
      : names_(std::move(names)), reflection_(names_) {}

  const std::vector<std::string> names_;
  ReflectionService reflection_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::unique_ptr<ConnectionAcceptor> acceptor_;
  std::string address_;
};

}  // namespace longhand::api
