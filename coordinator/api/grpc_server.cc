#include "coordinator/api/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <utility>

#include "common/address.h"

namespace longhand::api {
namespace {

constexpr std::chrono::milliseconds kShutdownGrace(200);

Result<std::string> ReadPem(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  if (text.empty()) return InvalidArgument("the PEM file ", path, " cannot be read");
  return text;
}

Result<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const GrpcServerConfig& config) {
  if (config.tls_cert.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options;
  LONGHAND_ASSIGN_OR_RETURN(std::string key, ReadPem(config.tls_key));
  LONGHAND_ASSIGN_OR_RETURN(std::string cert, ReadPem(config.tls_cert));
  options.pem_key_cert_pairs.push_back({std::move(key), std::move(cert)});
  return grpc::SslServerCredentials(options);
}

}  // namespace

Result<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerConfig& config) {
  const bool is_public = !config.service_names.empty();
  grpc::EnableDefaultHealthCheckService(is_public);
  if (is_public) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  std::vector<std::string> names = config.service_names;
  if (is_public) {
    names.insert(names.end(), {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                               "grpc.reflection.v1alpha.ServerReflection"});
  }
  LONGHAND_ASSIGN_OR_RETURN(Address address, Address::Parse(config.address));
  std::unique_ptr<GrpcServer> server(new GrpcServer(std::move(names)));
  grpc::ServerBuilder builder;
  LONGHAND_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials,
                            MakeCredentials(config));
  LONGHAND_ASSIGN_OR_RETURN(server->acceptor_, ConnectionAcceptor::Listen(address));
  server->connections_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  builder.SetMaxReceiveMessageSize(static_cast<int>(config.max_receive_bytes));
  // Clients may keep a quiet stream alive by pings: long prompts are silent for a while.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  for (grpc::Service* service : config.services) builder.RegisterService(service);
  if (is_public) builder.RegisterService(&server->reflection_);
  server->server_ = builder.BuildAndStart();
  if (!server->server_) return Unavailable("cannot serve gRPC on ", config.address);
  address.port = server->acceptor_->port();
  server->address_ = address.ToString();
  server->SetServing(false);
  server->acceptor_->Start(
      [connections = server->connections_.get()](int listener, int connection) {
        grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
        parameters.listener_fd = listener;
        parameters.fd = connection;
        connections->HandleNewConnection(&parameters);
      },
      config.on_refused ? config.on_refused : [] {});
  return server;
}

GrpcServer::~GrpcServer() {
  acceptor_.reset();
  if (server_) server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
}

void GrpcServer::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  if (health == nullptr) return;
  health->SetServingStatus(serving);
  for (const std::string& name : names_) health->SetServingStatus(name, serving);
}

}  // namespace longhand::api
