// How the command line reaches a server.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "common/status.h"

namespace CLI {
class App;
}

namespace longhand::client {

struct Endpoint {
  std::string address = "127.0.0.1:8001";
  std::string api_key;  // empty: none is sent
  std::string tls_ca;   // a PEM file of who is trusted; empty: no TLS
};

void AddEndpointOption(CLI::App& app, Endpoint& endpoint);

// What is wrong with the file of --tls-ca; empty: nothing.
std::string CheckAuthority(const std::string& file);

// How long a stream may give nothing before it is given up.
inline constexpr std::chrono::seconds kRetryFor(60);
void AddRetryOption(CLI::App& app, std::chrono::seconds& retry_for);

std::shared_ptr<grpc::Channel> Connect(const Endpoint& endpoint);

// Status::about() of a server that does not answer, unlike one that says that it cannot serve now.
inline constexpr char kAboutEndpoint[] = "endpoint";

// "longhand generate: UNAVAILABLE: ..." on stderr, for a server that cannot be reached with what to
// do about it. Returns kExitFailed.
int ReportFailure(const std::string& verb, const Endpoint& endpoint, const Status& status);

}  // namespace longhand::client
