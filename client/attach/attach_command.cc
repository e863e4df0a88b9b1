#include "client/attach/attach_command.h"

#include <CLI/CLI.hpp>
#include <limits>
#include <string>

#include "client/connection.h"
#include "client/generate/answer.h"
#include "client/generate/answer_printer.h"
#include "client/generate/resumable_stream.h"
#include "common/options/command_line.h"

namespace longhand::client {

int AttachCommand(const std::vector<std::string>& args) {
  CLI::App app{
      "Shows the answer to a request that runs, or has ended and is still kept, and follows it to "
      "its end.",
      "longhand attach"};
  Endpoint endpoint;
  std::string request_id;
  int64_t from = 1;
  std::chrono::seconds retry_for = kRetryFor;
  bool json = false;
  AddEndpointOption(app, endpoint);
  app.add_option("ID", request_id, "The request's id")->required();
  app.add_option("--from", from, "The first event wanted; they count from 1")
      ->check(CLI::Range(int64_t{1}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str()
      ->take_last();
  AddRetryOption(app, retry_for);
  app.add_flag("--json", json, "No stream: one JSON object at the end, of what has come");
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  ResumableStream stream = ResumableStream::Attach(Connect(endpoint), request_id, from, retry_for);
  if (app.count("--retry-for") > 0) stream.ExpectServer();
  Answer answer;
  AnswerPrinter printer(json);
  for (v1::GenerateEvent event; stream.Read(&event);) {
    answer.Add(event);
    printer.OnEvent(event);
  }
  if (!stream.status().ok()) {
    printer.OnFailure();
    return ReportFailure("attach", endpoint, stream.status());
  }
  printer.OnEnd(answer);
  return kExitOk;
}

}  // namespace longhand::client
