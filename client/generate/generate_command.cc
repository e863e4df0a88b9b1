#include "client/generate/generate_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "client/generate/answer.h"
#include "client/generate/answer_printer.h"
#include "client/generate/cancel_on_signal.h"
#include "client/generate/generate_options.h"
#include "client/generate/resumable_stream.h"
#include "common/options/command_line.h"

namespace longhand::client {

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
  BlockInterrupts();
  const auto channel = Connect(options.endpoint);
  std::optional<CancelOnSignal> cancel_on_signal;
  if (request->on_disconnect() == v1::ON_DISCONNECT_CONTINUE)
    cancel_on_signal.emplace(channel, request->request_id());
  if (isatty(STDERR_FILENO) == 1)
    std::fprintf(stderr, "request %s\n", request->request_id().c_str());
  ResumableStream stream = ResumableStream::Generate(channel, *request, options.retry_for);
  if (app.count("--retry-for") > 0) stream.ExpectServer();
  Answer answer;
  AnswerPrinter printer(options.json);
  for (v1::GenerateEvent event; stream.Read(&event);) {
    answer.Add(event);
    printer.OnEvent(event);
  }
  if (!stream.status().ok()) {
    printer.OnFailure();
    return ReportFailure("generate", options.endpoint, stream.status());
  }
  printer.OnEnd(answer);
  return kExitOk;
}

}  // namespace longhand::client
