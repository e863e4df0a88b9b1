// GlooMesh: TCP connections between all ranks of a group, made by Gloo.
//
// Gloo reports errors by throwing; whoever calls into it catches (gloo_communicator.cc). Its own
// rendezvous is not used: it cannot be stopped while it waits, and exchanges host names that nobody
// needs.
#pragma once

#include <gloo/context.h>

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>

#include "common/status.h"
#include "worker/comm/key_value_store.h"

namespace longhand::comm {

struct GlooMeshOptions {
  int rank = 0;
  int size = 1;
  std::string group;
  int64_t epoch = 0;
  // Where this rank listens and how peers reach it: a host name or address of this machine, or the
  // name of a network interface. One of the two must be given.
  std::string host;
  std::string interface_name;
  std::chrono::milliseconds timeout{30'000};  // to form the group, and then of each wait
};

// A gloo context whose ranks are connected all to all.
class GlooMesh final : public ::gloo::Context {
 public:
  // Called by every rank of the group. Throws what Gloo throws; also returns a Status for what it
  // does not see.
  static Result<std::shared_ptr<GlooMesh>> Connect(const GlooMeshOptions& options,
                                                   KeyValueStore& store,
                                                   std::stop_token stop);

  GlooMesh(int rank, int size) : ::gloo::Context(rank, size) {}

  // Ends all connections: peers notice at once. Any thread; takes up to 10 ms a connection.
  void CloseAll();

 private:
  void Listen(const GlooMeshOptions& options);
  Status PublishAddresses(const GlooMeshOptions& options, KeyValueStore& store);
  Status ConnectTo(int peer,
                   const GlooMeshOptions& options,
                   KeyValueStore& store,
                   std::stop_token stop);
};

}  // namespace longhand::comm
