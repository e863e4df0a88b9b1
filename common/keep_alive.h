// TCP's keep-alive for connections that a server takes.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace longhand {

// A peer whose host has vanished while nothing is sent to it is noticed in a minute: the kernel of
// one that is only stopped, or slow, answers. Connections have it from their listener. False, with
// errno, where the system refuses it.
inline bool NoticeVanishedPeers(int listener) {
  const auto set = [listener](int level, int option, int value) {
    return setsockopt(listener, level, option, &value, sizeof(value)) == 0;
  };
  return set(SOL_SOCKET, SO_KEEPALIVE, 1) && set(IPPROTO_TCP, TCP_KEEPIDLE, 30) &&
         set(IPPROTO_TCP, TCP_KEEPINTVL, 10) && set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

}  // namespace longhand
