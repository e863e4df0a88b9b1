#include "coordinator/api/connection_acceptor.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>

namespace longhand::api {
namespace {

int OptionOf(int socket, int level, int option) {
  int value = -1;
  socklen_t size = sizeof(value);
  EXPECT_EQ(getsockopt(socket, level, option, &value, &size), 0);
  return value;
}

TEST(ConnectionAcceptor, PeersThatVanishWithoutAWordAreLookedFor) {
  const auto acceptor = ConnectionAcceptor::Listen(Address::Parse("127.0.0.1:0").value());
  ASSERT_TRUE(acceptor.ok()) << acceptor.status();
  std::promise<int> taken;
  (*acceptor)->Start([&](int, int connection) { taken.set_value(connection); }, [] {});
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>((*acceptor)->port()));
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&peer), sizeof(peer)), 0);
  const int connection = taken.get_future().get();
  EXPECT_EQ(OptionOf(connection, SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(OptionOf(connection, IPPROTO_TCP, TCP_KEEPIDLE), 30);
  EXPECT_EQ(OptionOf(connection, IPPROTO_TCP, TCP_USER_TIMEOUT), 60'000);
  close(connection);
  close(client);
}

}  // namespace
}  // namespace longhand::api
