// A server and raw sockets: time limits, order, keep-alive, bounds, and the end. Limits are short
// where a test waits for them to pass; none asserts how long anything takes.
#include "coordinator/http/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace longhand::http {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Socket {
 public:
  explicit Socket(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&peer), sizeof(peer)), 0);
  }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;

  bool Send(const std::string& bytes) {
    return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  // All that comes before the server closes.
  std::string ReadToEnd() {
    std::string bytes;
    char buffer[65536];
    for (ssize_t count; (count = recv(fd_, buffer, sizeof(buffer), 0)) > 0;)
      bytes.append(buffer, static_cast<size_t>(count));
    return bytes;
  }
  std::string ReadUntil(const std::string& mark) {
    std::string bytes;
    char c;
    while (bytes.find(mark) == std::string::npos && recv(fd_, &c, 1, 0) == 1) bytes += c;
    return bytes;
  }
  in_port_t port() const {
    sockaddr_in own{};
    socklen_t size = sizeof(own);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &size), 0);
    return own.sin_port;
  }
  // Its kernel drops all that comes, as a host that is gone would.
  void Vanish() {
    sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    const sock_fprog program{.len = 1, .filter = &drop};
    EXPECT_EQ(setsockopt(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
  }
  void ReceiveSlowly(int bytes) { setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)); }

 private:
  const int fd_;
};

std::string Get(const std::string& path, const std::string& headers = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n";
}

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(const Limits& limits) {
    HttpServerConfig config{.address = "127.0.0.1:0",
                            .on_connections = [this](int64_t n) { num_open_ = n; }};
    config.host.limits = limits;
    config.host.handle = [this](Exchange& exchange) { return Handle(exchange); };
    config.host.check_head = [](const Request& request) -> std::optional<Response> {
      if (request.path == "/forbidden") return Response{.status = 403, .body = "no"};
      return std::nullopt;
    };
    config.host.decorate = [](const Request&, Response& response) {
      response.headers.emplace_back("X-Own", "1");
    };
    config.host.refuse = [](const ParseError& error) {
      return Response{.status = error.status, .body = error.message};
    };
    config.host.fail = [](const Status&) { return Response{.status = 429}; };
    config.host.reserve = [this](int64_t bytes) {
      num_held_ += bytes;
      return num_held_ <= max_held_ ? OkStatus() : (num_held_ -= bytes, ResourceExhausted("full"));
    };
    config.host.release = [this](int64_t bytes) { num_held_ -= bytes; };
    Result<std::unique_ptr<HttpServer>> server = HttpServer::Start(std::move(config));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(server).value();
  }

  boost::asio::awaitable<void> Handle(Exchange& exchange) {
    const std::string path = exchange.request().path;
    if (path == "/stream") {
      const Response head{.content_type = "text/event-stream"};
      if (!co_await exchange.Begin(head)) co_return;
      for (const char* part : {"one", "two"}) co_await exchange.Send(part);
      co_return co_await exchange.End();
    }
    if (path == "/pings") {
      const Response head;
      if (!co_await exchange.Begin(head)) co_return;
      while (!exchange.gone() && co_await exchange.Send("ping"))
        co_await exchange.Sleep(std::chrono::steady_clock::now() + milliseconds(20));
      was_left_ = true;
      co_return;
    }
    if (path == "/endless") {  // Until the client is gone or does not read.
      const Response head;
      if (!co_await exchange.Begin(head)) co_return;
      const std::string part(1 << 16, 'x');
      while (!exchange.gone() && co_await exchange.Send(part)) {
      }
      was_left_ = true;
      co_return;
    }
    if (path == "/begun") exchange.ReleaseBody();
    if (path == "/wait" || path == "/begun") {
      waker_ = exchange.waker();
      is_waiting_ = true;
      while (!may_go_on_ && !exchange.gone()) co_await exchange.Sleep(std::nullopt);
      was_left_ = exchange.gone();
    }
    Response response{.body = path + ":" + exchange.request().body};
    co_await exchange.Reply(std::move(response));
  }
  void WaitFor(const std::atomic<bool>& flag) {
    while (!flag) std::this_thread::yield();
  }

  std::atomic<int64_t> num_open_ = 0;
  std::atomic<int64_t> num_held_ = 0;
  int64_t max_held_ = 1 << 20;
  std::atomic<bool> is_waiting_ = false;
  std::atomic<bool> may_go_on_ = false;
  std::atomic<bool> was_left_ = false;
  Waker waker_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersKeepTheOrderOfPipelinedRequests) {
  Start({});
  Socket client(server_->address());
  client.Send(Get("/a") + "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" +
              Get("/stream") + Get("/c", "Connection: close\r\n"));
  const std::string all = client.ReadToEnd();
  const size_t a = all.find("/a:"), b = all.find("/b:hi"), c = all.find("/c:");
  const size_t stream = all.find("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
  EXPECT_TRUE(a < b && b < stream && stream < c && c != std::string::npos) << all;
  EXPECT_THAT(all, HasSubstr("X-Own: 1\r\n"));
  EXPECT_EQ(num_held_, 0);
}

TEST_F(HttpServerTest, TheHeadOfAStreamIsAllThatHeadGets) {
  Start({});
  Socket client(server_->address());
  client.Send("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n" + Get("/a", "Connection: close\r\n"));
  const std::string all = client.ReadToEnd();
  EXPECT_THAT(all, HasSubstr("text/event-stream"));
  EXPECT_EQ(all.find("\r\n\r\n") + 4, all.find("HTTP/1.1 200 OK", 1)) << all;
  EXPECT_THAT(all, HasSubstr("/a:"));
}

TEST_F(HttpServerTest, ARefusalBeforeTheBodyClosesOnlyWhenABodyWasToCome) {
  Start({});
  Socket client(server_->address());
  client.Send(Get("/forbidden") + Get("/a") +
              "POST /forbidden HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
  const std::string all = client.ReadToEnd();
  EXPECT_THAT(all, StartsWith("HTTP/1.1 403 Forbidden\r\n"));
  EXPECT_THAT(all, HasSubstr("/a:"));
  EXPECT_NE(all.rfind("403"), all.find("403"));
}

TEST_F(HttpServerTest, SlowHeadsAndBodiesAreToldSoAndNeverHoldOthersUp) {
  Start({.header_timeout = milliseconds(300), .body_timeout = milliseconds(300)});
  std::vector<std::unique_ptr<Socket>> slow;
  for (int i = 0; i < 200; ++i) {
    slow.push_back(std::make_unique<Socket>(server_->address()));
    slow.back()->Send("GET / HTTP/1.1\r\nHo");
  }
  Socket body(server_->address());
  body.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello");
  Socket quick(server_->address());
  quick.Send(Get("/a", "Connection: close\r\n"));
  EXPECT_THAT(quick.ReadToEnd(), HasSubstr("/a:"));
  for (const auto& client : slow) {
    EXPECT_THAT(client->ReadToEnd(), StartsWith("HTTP/1.1 408 Request Timeout\r\n"));
  }
  EXPECT_THAT(body.ReadToEnd(), HasSubstr("the body of the request did not come in time"));
  while (num_held_ > 0) std::this_thread::yield();
}

TEST_F(HttpServerTest, AnIdleConnectionIsClosedWithoutAWord) {
  Start({.idle_timeout = milliseconds(100)});
  Socket silent(server_->address());
  EXPECT_EQ(silent.ReadToEnd(), "");
  Socket once(server_->address());
  once.Send(Get("/a"));
  EXPECT_THAT(once.ReadToEnd(), HasSubstr("/a:"));
}

TEST_F(HttpServerTest, WhoDoesNotReadIsLeft) {
  Start({.write_timeout = milliseconds(200)});
  Socket client(server_->address());
  client.Send(Get("/endless"));
  WaitFor(was_left_);
}

TEST_F(HttpServerTest, AHandlerSeesThatItsClientIsGone) {
  Start({});
  {
    Socket client(server_->address());
    client.Send(Get("/wait"));
    WaitFor(is_waiting_);
  }
  WaitFor(was_left_);
  while (num_open_ > 0) std::this_thread::yield();
}

TEST_F(HttpServerTest, AStreamThatOnlyPingsEndsWhenTheClientsHostVanishes) {
  Start({.silence = milliseconds(500)});
  Socket client(server_->address());
  client.Send(Get("/pings"));
  client.ReadUntil("ping");
  client.Vanish();
  WaitFor(was_left_);
}

// The server's end of the connection is asked, which is in this process.
TEST_F(HttpServerTest, AClientThatVanishesWhileNothingIsSentIsLookedFor) {
  Start({});
  Socket client(server_->address());
  client.Send(Get("/wait"));
  WaitFor(is_waiting_);
  int num_found = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 ||
        peer.sin_port != client.port())
      continue;
    ++num_found;
    int is_on = 0, idle_s = 0;
    size = sizeof(int);
    ASSERT_EQ(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &is_on, &size), 0);
    ASSERT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, &size), 0);
    EXPECT_EQ(is_on, 1);
    EXPECT_EQ(idle_s, 30);
  }
  EXPECT_EQ(num_found, 1);
}

TEST_F(HttpServerTest, AWakerEndsASleepFromAnotherThreadAndOutlivesTheConnection) {
  Start({});
  {
    Socket client(server_->address());
    client.Send(Get("/wait", "Connection: close\r\n"));
    WaitFor(is_waiting_);
    may_go_on_ = true;
    waker_();
    EXPECT_THAT(client.ReadToEnd(), HasSubstr("/wait:"));
  }
  while (num_open_ > 0) std::this_thread::yield();
  waker_();
}

// As of work that was begun for a client when the server stopped: nobody is left to be woken.
TEST_F(HttpServerTest, AWakerMayComeAfterTheServerHasEnded) {
  Start({});
  Socket client(server_->address());
  client.Send(Get("/wait"));
  WaitFor(is_waiting_);
  server_.reset();
  waker_();
}

TEST_F(HttpServerTest, BodiesBeyondTheBudgetAreRefused) {
  max_held_ = 1000;
  Start({.max_body_bytes = 1 << 20});
  Socket client(server_->address());
  client.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" +
              std::string(2000, 'x'));
  EXPECT_THAT(client.ReadToEnd(), StartsWith("HTTP/1.1 429 "));
  Socket next(server_->address());
  next.Send("POST /n HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_THAT(next.ReadToEnd(), HasSubstr("/n:hi"));
  while (num_held_ > 0) std::this_thread::yield();
}

// Answers take minutes; what they were asked with has been used by then.
TEST_F(HttpServerTest, ABodyThatWasUsedCountsNoMoreWhileItsAnswerIsMade) {
  Start({});
  Socket client(server_->address());
  client.Send(
      "POST /begun HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
  WaitFor(is_waiting_);
  EXPECT_EQ(num_held_, 0);
  may_go_on_ = true;
  waker_();
  EXPECT_THAT(client.ReadToEnd(), HasSubstr("/begun:"));
  EXPECT_EQ(num_held_, 0);
}

TEST_F(HttpServerTest, ConnectionsBeyondTheBoundAreClosed) {
  Start({.max_connections = 2});
  Socket first(server_->address()), second(server_->address());
  first.Send(Get("/a"));
  EXPECT_THAT(first.ReadUntil("/a:"), HasSubstr("/a:"));
  second.Send(Get("/b"));
  EXPECT_THAT(second.ReadUntil("/b:"), HasSubstr("/b:"));
  Socket third(server_->address());
  EXPECT_EQ(third.ReadToEnd(), "");
}

TEST_F(HttpServerTest, ADrainLetsAnswersEndAndClosesWhatIsIdle) {
  Start({});
  Socket idle(server_->address()), busy(server_->address());
  idle.Send(Get("/a"));
  EXPECT_THAT(idle.ReadUntil("/a:"), HasSubstr("keep-alive"));
  busy.Send(Get("/wait"));
  WaitFor(is_waiting_);
  server_->Drain();
  EXPECT_EQ(idle.ReadToEnd(), "");
  may_go_on_ = true;
  waker_();
  const std::string answer = busy.ReadToEnd();
  EXPECT_THAT(answer, HasSubstr("/wait:"));
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
}

// Probes and new requests are still answered: with what the server says of itself.
TEST_F(HttpServerTest, ADrainAnswersANewConnectionOnce) {
  Start({});
  Socket early(server_->address());
  server_->Drain();
  Socket late(server_->address());
  for (Socket* client : {&late, &early}) {
    client->Send(Get("/a"));
    const std::string answer = client->ReadToEnd();
    EXPECT_THAT(answer, HasSubstr("/a:"));
    EXPECT_THAT(answer, HasSubstr("Connection: close"));
  }
}

TEST_F(HttpServerTest, StopDoesNotWaitForAConnectionThatSaysNothing) {
  Start({});
  Socket silent(server_->address());
  while (num_open_ < 1) std::this_thread::yield();
  server_->Drain();
  server_->Stop();
  EXPECT_EQ(silent.ReadToEnd(), "");
}

// The end of what runs and that of the server come at once, where the server waited for it.
TEST_F(HttpServerTest, StopLetsWhoHasSomethingToSendSendIt) {
  Start({});
  Socket client(server_->address());
  client.Send(Get("/wait"));
  WaitFor(is_waiting_);
  may_go_on_ = true;
  waker_();
  server_->Stop();
  EXPECT_FALSE(was_left_);
  EXPECT_THAT(client.ReadToEnd(), HasSubstr("/wait:"));
}

TEST_F(HttpServerTest, StopEndsWhatIsUnderWay) {
  Start({});
  Socket waiting(server_->address()), silent(server_->address());
  waiting.Send(Get("/wait"));
  WaitFor(is_waiting_);
  server_->Stop();
  EXPECT_TRUE(was_left_);
  EXPECT_EQ(num_open_, 0);
}

TEST_F(HttpServerTest, AnAddressThatIsNoneAndACertificateThatIsNone) {
  HttpServerConfig config{.address = "nonsense"};
  EXPECT_EQ(HttpServer::Start(std::move(config)).status().code(), StatusCode::kInvalidArgument);
  HttpServerConfig tls{.address = "127.0.0.1:0", .tls_cert = "/nowhere", .tls_key = "/nowhere"};
  EXPECT_EQ(HttpServer::Start(std::move(tls)).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace longhand::http
