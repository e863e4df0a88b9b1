#include "client/agent_write/write_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "client/agent_write/document_receiver.h"
#include "client/agent_write/instruction.h"
#include "client/agent_write/write_printer.h"
#include "client/connection.h"
#include "client/generate/cancel_on_signal.h"
#include "client/generate/chat_file.h"
#include "client/generate/resumable_stream.h"
#include "client/generate/sampling_options.h"
#include "common/options/command_line.h"
#include "common/request_id.h"

namespace longhand::client {
namespace {

struct WriteOptions {
  Endpoint endpoint;
  std::string prompt;
  std::vector<std::string> images;
  std::optional<int64_t> words;
  SamplingOptions sampling;
  std::chrono::seconds retry_for = kRetryFor;
  bool json = false;
};

void AddWriteOptions(CLI::App& app, WriteOptions& o) {
  AddEndpointOption(app, o.endpoint);
  app.add_option("--prompt", o.prompt, "What to write; it should name a length");
  app.add_option("--image", o.images,
                 "Picture that the prompt is about; may be given several times");
  app.add_option("--words", o.words,
                 "Writes a story of so many words, about the pictures if there are any; --prompt "
                 "then says more about it. The sections make up for each other's lengths")
      ->check(CLI::Range(1, 100000))
      ->take_last();
  AddSamplingOptions(app, o.sampling);
  AddRetryOption(app, o.retry_for);
  app.add_flag("--json", o.json, "No stream: plan and sections as one JSON object at the end");
}

std::string Instruction(const WriteOptions& o) {
  if (!o.words) return o.prompt;
  const std::string story = StoryInstruction(*o.words, o.images.size(), Language::kEnglish);
  return o.prompt.empty() ? story : story + " " + o.prompt;
}

Result<v1::WriteDocumentRequest> MakeRequest(const WriteOptions& o, std::string instruction) {
  v1::WriteDocumentRequest request;
  request.set_request_id(DrawRequestId("cli"));
  request.set_instruction(std::move(instruction));
  for (const std::string& path : o.images) {
    LONGHAND_ASSIGN_OR_RETURN(*request.add_images()->mutable_data(), ReadFile(path));
  }
  if (o.words) request.mutable_length()->set_target_words(*o.words);
  SetSampling(o.sampling, request.mutable_sampling());
  request.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
  return request;
}

}  // namespace

int WriteCommand(const std::vector<std::string>& args) {
  CLI::App app{
      "Writes a long text with a running server: first a plan, then section after section, each "
      "with the plan and the text so far before the model.",
      "longhand write"};
  app.footer(
      "A plan that cannot be read is asked for once more, unless --temperature is 0. With --seed, "
      "the n-th call to the model has that seed + n - 1.");
  WriteOptions options;
  AddWriteOptions(app, options);
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  const std::string instruction = Instruction(options);
  if (instruction.empty()) {
    std::fprintf(stderr, "longhand write: give --prompt, --words or both\n");
    return kExitUsage;
  }
  const Result<v1::WriteDocumentRequest> request = MakeRequest(options, instruction);
  if (!request.ok()) {
    std::fprintf(stderr, "longhand write: %s\n", request.status().message().c_str());
    return kExitFailed;
  }
  BlockInterrupts();
  const auto channel = Connect(options.endpoint);
  const CancelOnSignal cancel_on_signal(channel, request->request_id());
  ResumableStream stream = ResumableStream::WriteDocument(channel, *request, options.retry_for);
  if (app.count("--retry-for") > 0) stream.ExpectServer();
  const WordCounter counter;
  WritePrinter printer(!options.json, counter);
  DocumentReceiver receiver(printer);
  for (v1::GenerateEvent event; stream.Read(&event);) receiver.Add(event);
  printer.OnEnd();
  if (!stream.status().ok()) return ReportFailure("write", options.endpoint, stream.status());
  if (options.json)
    std::printf("%s\n", ToJson(receiver.document(), instruction, options.images).c_str());
  return kExitOk;
}

}  // namespace longhand::client
