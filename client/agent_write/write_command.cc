#include "client/agent_write/write_command.h"

#include <cstdio>
#include <optional>

#include "client/agent_write/generation_model.h"
#include "client/agent_write/instruction.h"
#include "client/agent_write/write_printer.h"
#include "client/connection.h"
#include "common/options/command_line.h"

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
                 "then says more about it")
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
  Result<GenerationModel> model = GenerationModel::Create(Connect(options.endpoint), options.images,
                                                          options.sampling, options.retry_for);
  if (!model.ok()) {
    std::fprintf(stderr, "longhand write: %s\n", model.status().message().c_str());
    return kExitFailed;
  }
  const WordCounter counter;
  WritePrinter printer(!options.json, counter);
  const Result<Document> document =
      DocumentWriter(*model, counter, Draws(options.sampling), printer).Write(instruction);
  printer.OnEnd();
  if (!document.ok()) return ReportFailure("write", options.endpoint, document.status());
  if (options.json) std::printf("%s\n", ToJson(*document, instruction, options.images).c_str());
  return kExitOk;
}

}  // namespace longhand::client
