// The least that a server which streams tokens can do: nothing is computed, prepared or kept. It is
// what our streams' processor time is compared with (stream_cost.py). One thread.
//
//     bare_streams --kind sse|grpc --interval-us N
//
// Every N microseconds each stream that has room gets an event, until its request's max_tokens. SSE
// with Beast, for POST /v1/chat/completions; or longhand.v1.Generation/Generate with gRPC's
// callback interface. The port is printed.
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "longhand/v1/generation.grpc.pb.h"

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Tcp = asio::ip::tcp;
using longhand::v1::GenerateEvent;
using longhand::v1::GenerateRequest;

// --- SSE
constexpr char kEvent[] =
    "id: 1000\ndata: {\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat."
    "completion.chunk\",\"created\":1790000000,\"model\":\"nano\",\"choices\":[{\"index\":0,"
    "\"delta\":{\"content\":\" word\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}"
    "\n\n";

class SseStream : public std::enable_shared_from_this<SseStream> {
 public:
  using Set = std::set<std::shared_ptr<SseStream>>;
  SseStream(Tcp::socket socket, Set* ticked) : socket_(std::move(socket)), ticked_(ticked) {
    socket_.set_option(Tcp::no_delay(true));
  }

  void ReadRequest() {
    request_ = {};
    http::async_read(socket_, buffer_, request_, [self = shared_from_this()](auto error, size_t) {
      if (!error) self->Begin();
    });
  }
  void Tick() {
    if (is_writing_) return;
    if (left_ > 0) {
      --left_;
      return Write(chunk_);
    }
    ticked_->erase(shared_from_this());
    const std::string tail = "data: [DONE]\n\n";
    Write(Chunk(tail) + "0\r\n\r\n", [this] { ReadRequest(); });
  }

 private:
  static std::string Chunk(const std::string& data) {
    char size[32];
    std::snprintf(size, sizeof(size), "%zx\r\n", data.size());
    return size + data + "\r\n";
  }
  void Begin() {
    boost::system::error_code error;
    const auto body = boost::json::parse(request_.body(), error);
    left_ = error ? 1 : body.at("max_tokens").to_number<int64_t>();
    Write(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        [this] { ticked_->insert(shared_from_this()); });
  }
  void Write(std::string data, std::function<void()> then = {}) {
    is_writing_ = true;
    out_ = std::move(data);
    asio::async_write(socket_, asio::buffer(out_),
                      [self = shared_from_this(), then = std::move(then)](auto error, size_t) {
                        self->is_writing_ = false;
                        if (error) {
                          self->ticked_->erase(self);
                        } else if (then) {
                          then();
                        }
                      });
  }

  Tcp::socket socket_;
  Set* const ticked_;
  boost::beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  const std::string chunk_ = Chunk(kEvent);
  std::string out_;
  bool is_writing_ = false;
  int64_t left_ = 0;
};

void ServeSse(std::chrono::microseconds interval) {
  asio::io_context context(1);
  SseStream::Set ticked;
  Tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
  std::function<void()> accept = [&] {
    acceptor.async_accept([&](auto error, Tcp::socket socket) {
      if (!error) std::make_shared<SseStream>(std::move(socket), &ticked)->ReadRequest();
      accept();
    });
  };
  asio::steady_timer timer(context, std::chrono::steady_clock::now());
  std::function<void()> tick = [&] {
    timer.expires_at(timer.expiry() + interval);
    timer.async_wait([&](auto) {
      const SseStream::Set now = ticked;
      for (const auto& stream : now) stream->Tick();
      tick();
    });
  };
  accept();
  tick();
  std::printf("%d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  context.run();
}

// --- gRPC
class Call;
struct Calls {
  std::mutex mutex;
  std::set<Call*> open;
};

class Call final : public grpc::ServerWriteReactor<GenerateEvent> {
 public:
  Call(Calls* calls, int64_t max_tokens) : calls_(calls), left_(max_tokens) {
    event_.set_text(" word");
    std::lock_guard lock(calls_->mutex);
    calls_->open.insert(this);
  }
  // The calls' mutex is held.
  void Tick() {
    if (is_writing_ || is_over_) return;
    if (left_-- > 0) {
      is_writing_ = true;
      event_.set_seq(event_.seq() + 1);
      StartWrite(&event_);
    } else {
      is_over_ = true;
      Finish(grpc::Status::OK);
    }
  }
  void OnWriteDone(bool) override {
    std::lock_guard lock(calls_->mutex);
    is_writing_ = false;
  }
  void OnDone() override {
    {
      std::lock_guard lock(calls_->mutex);
      calls_->open.erase(this);
    }
    delete this;
  }

 private:
  Calls* const calls_;
  GenerateEvent event_;
  int64_t left_;
  bool is_writing_ = false;
  bool is_over_ = false;
};

class BareGeneration final : public longhand::v1::Generation::CallbackService {
 public:
  explicit BareGeneration(Calls* calls) : calls_(calls) {}
  grpc::ServerWriteReactor<GenerateEvent>* Generate(grpc::CallbackServerContext*,
                                                    const GenerateRequest* request) override {
    return new Call(calls_, request->sampling().max_tokens());
  }

 private:
  Calls* const calls_;
};

void ServeGrpc(std::chrono::microseconds interval) {
  Calls calls;
  BareGeneration service(&calls);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  std::printf("%d\n", port);
  std::fflush(stdout);
  for (auto due = std::chrono::steady_clock::now();; due += interval) {
    std::this_thread::sleep_until(due);
    std::lock_guard lock(calls.mutex);
    for (Call* call : calls.open) call->Tick();
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("streams of tokens that nobody computes");
  std::string kind = "sse";
  int64_t interval_us = 10000;
  app.add_option("--kind", kind)->check(CLI::IsMember({"sse", "grpc"}));
  app.add_option("--interval-us", interval_us)->check(CLI::Range(100, 1000000));
  CLI11_PARSE(app, argc, argv);
  (kind == "sse" ? ServeSse : ServeGrpc)(std::chrono::microseconds(interval_us));
}
