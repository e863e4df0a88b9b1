// ConnectionAcceptor: takes TCP connections for a server that has no listener of its own. gRPC's
// ends for good when it finds no descriptor left; this one closes connections that would take one
// of the last (common/descriptors.h), and goes on.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/address.h"
#include "common/status.h"

namespace longhand::api {

class ConnectionAcceptor {
 public:
  // The taker owns the connection's descriptor.
  using Take = std::function<void(int listener, int connection)>;

  // Every address that the host has, with one port. kUnavailable when one cannot be bound.
  static Result<std::unique_ptr<ConnectionAcceptor>> Listen(const Address& address);
  // No connection is taken any more, and none is being given to the taker.
  ~ConnectionAcceptor();

  int port() const { return port_; }
  // Once. Both are called on the acceptor's own thread.
  void Start(Take take, std::function<void()> on_refused);

 private:
  ConnectionAcceptor() = default;
  Status Bind(const Address& address);
  void Run();
  void AcceptAll(int listener);

  std::vector<int> listeners_;
  int port_ = 0;
  int end_ = -1;  // can be read when the acceptor ends
  Take take_;
  std::function<void()> on_refused_;
  std::thread thread_;
};

}  // namespace longhand::api
