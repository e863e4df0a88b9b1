#include "coordinator/signals.h"

#include <signal.h>
#include <unistd.h>

namespace longhand {

void BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGPIPE}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

bool WaitForSignal(std::chrono::milliseconds patience) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  const timespec timeout{.tv_sec = patience.count() / 1000,
                         .tv_nsec = patience.count() % 1000 * 1'000'000};
  return sigtimedwait(&signals, nullptr, &timeout) > 0;
}

void RaiseSignal() { kill(getpid(), SIGTERM); }

}  // namespace longhand
