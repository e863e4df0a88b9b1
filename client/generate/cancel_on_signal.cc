#include "client/generate/cancel_on_signal.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "longhand/v1/generation.grpc.pb.h"

namespace longhand::client {
namespace {

constexpr int kEndOfWait = SIGUSR1;
constexpr std::chrono::seconds kCancelTimeout(2);

sigset_t Interrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, kEndOfWait}) sigaddset(&signals, number);
  return signals;
}

void Cancel(const std::shared_ptr<grpc::Channel>& channel, const std::string& request_id) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCancelTimeout);
  v1::CancelRequest request;
  request.set_request_id(request_id);
  v1::CancelResponse response;
  const grpc::Status status =
      v1::Generation::NewStub(channel)->Cancel(&context, request, &response);
  if (status.ok()) return;
  std::fprintf(stderr, "request %s was not cancelled: %s\n", request_id.c_str(),
               status.error_message().c_str());
}

}  // namespace

void BlockInterrupts() {
  const sigset_t signals = Interrupts();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

CancelOnSignal::CancelOnSignal(std::shared_ptr<grpc::Channel> channel,
                               const std::string& request_id)
    : thread_([channel = std::move(channel), request_id] {
        const sigset_t signals = Interrupts();
        int number = 0;
        sigwait(&signals, &number);
        if (number == kEndOfWait) return;
        Cancel(channel, request_id);
        _exit(128 + number);
      }) {}

CancelOnSignal::~CancelOnSignal() {
  pthread_kill(thread_.native_handle(), kEndOfWait);
  thread_.join();
}

}  // namespace longhand::client
