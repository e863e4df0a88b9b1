// HttpServer: listens, and runs each connection on one thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/status.h"
#include "coordinator/http/connection.h"

namespace longhand::http {

struct HttpServerConfig {
  std::string address;   // host:port; port 0 picks one
  std::string tls_cert;  // PEM files; empty: plain
  std::string tls_key;
  ConnectionHost host;
  std::function<void(int64_t num_open)> on_connections;  // whenever their number changes
  std::function<void()> on_refused;                      // of each connection that is one too many
};

class HttpServer {
 public:
  // kInvalidArgument for what is no address or no certificate, kUnavailable when the address cannot
  // be bound.
  static Result<std::unique_ptr<HttpServer>> Start(HttpServerConfig config);
  ~HttpServer();

  const std::string& address() const { return address_; }  // with the real port

  // Any thread. Connections close after the answer that is under way, new ones after their first.
  void Drain();
  // Any thread. What is under way has a moment to be sent; then all is closed and the thread ends.
  void Stop();

 private:
  struct Impl;
  HttpServer(std::unique_ptr<Impl> impl, std::string address);

  std::unique_ptr<Impl> impl_;
  std::string address_;
};

}  // namespace longhand::http
