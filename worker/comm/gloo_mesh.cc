#include "worker/comm/gloo_mesh.h"

#include <gloo/transport/address.h>
#include <gloo/transport/context.h>
#include <gloo/transport/pair.h>
#include <gloo/transport/tcp/device.h>
#include <netdb.h>

#include <csignal>
#include <vector>

namespace longhand::comm {
namespace {

// While a pair connects, Gloo waits five times the timeout it was given.
constexpr int kGlooConnectFactor = 5;

std::string AddressKey(const GlooMeshOptions& options, int rank) {
  return options.group + "/" + std::to_string(options.epoch) + "/" + std::to_string(rank);
}

// Gloo writes to sockets whose peer may be gone, without MSG_NOSIGNAL. An error code is wanted, not
// the process' end; a handler that somebody else installed stays.
void IgnoreBrokenPipes() {
  struct sigaction current {};
  if (sigaction(SIGPIPE, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) {
    std::signal(SIGPIPE, SIG_IGN);
  }
}

// Gloo reads an uninitialised pointer when a host name does not resolve, so that is found here.
Status CheckResolves(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return InvalidArgument("cannot listen on '", host, "': ", gai_strerror(error));
  }
  freeaddrinfo(found);
  return OkStatus();
}

}  // namespace

Result<std::shared_ptr<GlooMesh>> GlooMesh::Connect(const GlooMeshOptions& options,
                                                    KeyValueStore& store,
                                                    std::stop_token stop) {
  LONGHAND_CHECK(options.size >= 2 && options.rank >= 0 && options.rank < options.size)
      << "rank " << options.rank << " of " << options.size;
  if (options.host.empty() == options.interface_name.empty()) {
    return InvalidArgument("give a host or a network interface to listen on, not both: '",
                           options.host, "' and '", options.interface_name, "'");
  }
  if (!options.host.empty()) LONGHAND_RETURN_IF_ERROR(CheckResolves(options.host));
  IgnoreBrokenPipes();

  auto mesh = std::make_shared<GlooMesh>(options.rank, options.size);
  mesh->Listen(options);
  LONGHAND_RETURN_IF_ERROR(mesh->PublishAddresses(options, store));
  const std::stop_callback close_on_stop(stop, [&mesh] { mesh->CloseAll(); });
  for (int peer = 0; peer < options.size; ++peer) {
    if (peer == options.rank) continue;
    LONGHAND_RETURN_IF_ERROR(mesh->ConnectTo(peer, options, store, stop));
  }
  return mesh;
}

// One listening socket a peer.
void GlooMesh::Listen(const GlooMeshOptions& options) {
  ::gloo::transport::tcp::attr attributes;
  attributes.hostname = options.host;
  attributes.iface = options.interface_name;
  device_ = ::gloo::transport::tcp::CreateDevice(attributes);
  transportContext_ = device_->createContext(rank, size);
  transportContext_->setTimeout(options.timeout / kGlooConnectFactor);
  for (int peer = 0; peer < size; ++peer) {
    if (peer != rank) transportContext_->createPair(peer)->setLocalRank(0);
  }
}

// The value is the address of each peer's socket in rank order, all of one length, this rank left
// out.
Status GlooMesh::PublishAddresses(const GlooMeshOptions& options, KeyValueStore& store) {
  std::string addresses;
  for (int peer = 0; peer < size; ++peer) {
    if (peer == rank) continue;
    const std::vector<char> address = getPair(peer)->address().bytes();
    addresses.append(address.begin(), address.end());
  }
  return store.Set(AddressKey(options, rank), addresses);
}

Status GlooMesh::ConnectTo(int peer,
                           const GlooMeshOptions& options,
                           KeyValueStore& store,
                           std::stop_token stop) {
  LONGHAND_ASSIGN_OR_RETURN(const std::string addresses,
                            store.Get(AddressKey(options, peer), options.timeout, stop));
  const size_t num_addresses = static_cast<size_t>(size) - 1;
  const size_t address_bytes = addresses.size() / num_addresses;
  if (address_bytes == 0 || addresses.size() % num_addresses != 0) {
    return Internal("rank ", peer, " published ", addresses.size(), " bytes, not ", num_addresses,
                    " addresses");
  }
  const char* mine =
      addresses.data() + static_cast<size_t>(rank < peer ? rank : rank - 1) * address_bytes;
  getPair(peer)->connect(std::vector<char>(mine, mine + address_bytes));
  if (stop.stop_requested()) return Aborted("forming the group was aborted");
  return OkStatus();
}

void GlooMesh::CloseAll() { closeConnections(); }

}  // namespace longhand::comm
