#include "client/generate/generate_command.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

#include "client/generate/answer.h"
#include "client/generate/generate_options.h"
#include "common/options/command_line.h"
#include "longhand/v1/generation.grpc.pb.h"
#include "proto/grpc_status.h"

namespace longhand::client {
namespace {

using SteadyClock = std::chrono::steady_clock;

double Seconds(SteadyClock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// The text goes to stdout as it comes, the figures to stderr when somebody looks.
class Printer {
 public:
  explicit Printer(bool json) : streams_(!json), figures_(isatty(STDERR_FILENO) == 1) {}

  void OnEvent(const v1::GenerateEvent& event) {
    if (!std::exchange(started_, true)) first_ = SteadyClock::now();
    if (!streams_) return;
    if (event.choice() != choice_) {
      choice_ = event.choice();
      std::printf("\n--- choice %u ---\n", choice_);
    }
    std::fwrite(event.text().data(), 1, event.text().size(), stdout);
    std::fflush(stdout);
  }

  void OnEnd(const Answer& answer) const {
    if (streams_) std::printf("\n");
    if (!figures_ || !started_) return;
    const double generating = Seconds(SteadyClock::now() - first_);
    const auto tokens = static_cast<double>(answer.usage.completion_tokens());
    std::fprintf(
        stderr,
        "%lld prompt tokens, first token after %.2f s; %lld tokens in %.2f s, %.1f tokens/s; %s\n",
        static_cast<long long>(answer.usage.prompt_tokens()), Seconds(first_ - start_),
        static_cast<long long>(answer.usage.completion_tokens()), generating,
        generating > 0 ? tokens / generating : 0.0,
        answer.choices.empty() ? "" : answer.choices[0].finish_detail.c_str());
  }

 private:
  const bool streams_;
  const bool figures_;
  const SteadyClock::time_point start_ = SteadyClock::now();
  bool started_ = false;
  SteadyClock::time_point first_;  // event, once started
  uint32_t choice_ = 0;
};

}  // namespace

int GenerateCommand(const std::vector<std::string>& args) {
  CLI::App app{"Asks a running server and streams the answer.", "longhand generate"};
  GenerateOptions options;
  AddGenerateOptions(app, options);
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  const Result<v1::GenerateRequest> request = MakeRequest(options);
  if (!request.ok()) {
    std::fprintf(stderr, "longhand generate: %s\n", request.status().message().c_str());
    return request.status().code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailed;
  }
  const auto stub = v1::Generation::NewStub(Connect(options.endpoint));
  grpc::ClientContext context;
  Answer answer;
  Printer printer(options.json);
  const auto reader = stub->Generate(&context, *request);
  for (v1::GenerateEvent event; reader->Read(&event);) {
    answer.Add(event);
    printer.OnEvent(event);
  }
  const grpc::Status status = reader->Finish();
  if (!status.ok()) return ReportFailure("generate", options.endpoint, FromGrpc(status));
  printer.OnEnd(answer);
  if (options.json) std::printf("%s\n", answer.ToJson().c_str());
  return kExitOk;
}

}  // namespace longhand::client
