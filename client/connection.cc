#include "client/connection.h"

#include <grpcpp/support/client_interceptor.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "common/options/command_line.h"

namespace longhand::client {
namespace {

// Call credentials would need a secure channel; a key is sent over a plain one, too.
class KeySender final : public grpc::experimental::Interceptor {
 public:
  explicit KeySender(std::string authorization) : authorization_(std::move(authorization)) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA))
      methods->GetSendInitialMetadata()->insert({"authorization", authorization_});
    methods->Proceed();
  }

 private:
  const std::string authorization_;
};

class KeySenderFactory final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit KeySenderFactory(const std::string& key) : authorization_("Bearer " + key) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo*) override {
    return new KeySender(authorization_);  // gRPC's own
  }

 private:
  const std::string authorization_;
};

std::string ContentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::shared_ptr<grpc::ChannelCredentials> CredentialsFor(const Endpoint& endpoint) {
  if (endpoint.tls_ca.empty()) return grpc::InsecureChannelCredentials();
  return grpc::SslCredentials({.pem_root_certs = ContentOf(endpoint.tls_ca)});
}

}  // namespace

std::string CheckAuthority(const std::string& file) {
  const std::string content = ContentOf(file);
  if (content.empty()) return file + " cannot be read";
  if (content.find("-----BEGIN CERTIFICATE-----") != std::string::npos) return "";
  return file + " has no certificate; it must be a PEM file";
}

void AddEndpointOption(CLI::App& app, Endpoint& endpoint) {
  app.add_option("--endpoint", endpoint.address, "host:port of the server's gRPC")
      ->capture_default_str()
      ->take_last();
  app.add_option("--api-key", endpoint.api_key, "What the server's --api-key-file asks for")
      ->take_last();
  app.add_option("--tls-ca", endpoint.tls_ca,
                 "PEM file of the authority that the server's certificate is from; speaks TLS")
      ->check(CheckAuthority)
      ->take_last();
}

void AddRetryOption(CLI::App& app, std::chrono::seconds& retry_for) {
  app.add_option_function<int64_t>(
         "--retry-for", [&](int64_t seconds) { retry_for = std::chrono::seconds(seconds); },
         "Seconds for which a lost connection or a server that is not there now is tried again; "
         "not given, a server that never was there is for 2 s")
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
  // A host that is gone, or a network that forgets quiet connections, says nothing: pings find out.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // no limit
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  if (!endpoint.api_key.empty())
    interceptors.push_back(std::make_unique<KeySenderFactory>(endpoint.api_key));
  return grpc::experimental::CreateCustomChannelWithInterceptors(
      endpoint.address, CredentialsFor(endpoint), args, std::move(interceptors));
}

int ReportFailure(const std::string& verb, const Endpoint& endpoint, const Status& status) {
  std::fprintf(stderr, "longhand %s: %s\n", verb.c_str(), status.ToString().c_str());
  if (status.code() == StatusCode::kUnavailable && status.about() == kAboutEndpoint) {
    std::fprintf(stderr,
                 "Is a server running at %s, %s? `longhand serve --model DIR` starts one.\n",
                 endpoint.address.c_str(),
                 endpoint.tls_ca.empty() ? "without TLS (else --tls-ca)" : "with TLS");
  }
  if (status.code() == StatusCode::kUnauthenticated)
    std::fputs("--api-key KEY sends it, or LONGHAND_API_KEY in the environment.\n", stderr);
  return kExitFailed;
}

}  // namespace longhand::client
