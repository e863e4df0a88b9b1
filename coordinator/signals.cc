#include "coordinator/signals.h"

#include <signal.h>
#include <unistd.h>

namespace longhand {

void BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGUSR1, SIGPIPE}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

bool WaitForSignal(std::chrono::milliseconds patience) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals, number);
  const timespec timeout{.tv_sec = patience.count() / 1000,
                         .tv_nsec = patience.count() % 1000 * 1'000'000};
  const int number = sigtimedwait(&signals, nullptr, &timeout);
  return number == SIGTERM || number == SIGINT;
}

void RaiseSignal() { kill(getpid(), SIGTERM); }

void EndWait() { kill(getpid(), SIGUSR1); }

}  // namespace longhand
