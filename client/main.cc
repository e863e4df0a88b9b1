// longhand: the command line.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "client/agent_write/agentwrite_command.h"
#include "client/agent_write/write_command.h"
#include "client/attach/attach_command.h"
#include "client/bench/bench_command.h"
#include "client/chaos/chaos_command.h"
#include "client/demo/demo_command.h"
#include "client/doctor/doctor_command.h"
#include "client/eval/eval_command.h"
#include "client/export_training/export_command.h"
#include "client/generate/generate_command.h"
#include "client/pull/pull_command.h"
#include "client/serve/serve_command.h"
#include "client/status/status_command.h"
#include "client/tokenize/tokenize_command.h"
#include "common/options/command_line.h"
#include "common/options/nearest_name.h"
#include "common/version.h"
#include "proto/grpc_log.h"

namespace longhand::client {
namespace {

int TokenizeCommand(const std::vector<std::string>& args) {
  CLI::App app{"Reads lines {\"text\": ...} and writes lines {\"ids\": [...]}.",
               "longhand tokenize"};
  TokenizeOptions options;
  app.add_option("--model", options.model, "Checkpoint directory; only its tokenizer is read")
      ->required()
      ->take_last();
  bool json = true;
  app.add_flag("--json", json, "What is written in any case");
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  std::ios::sync_with_stdio(false);
  const Status status = Tokenize(options, std::cin, std::cout);
  std::cout.flush();
  if (status.ok()) return kExitOk;
  std::fprintf(stderr, "longhand tokenize: %s\n", status.message().c_str());
  return kExitFailed;
}

struct Verb {
  const char* name;
  const char* help;
  int (*run)(const std::vector<std::string>& args);
};

constexpr Verb kVerbs[] = {
    {"demo", "serve the bundled model and write a story about a picture", DemoCommand},
    {"pull", "download a model from the Hugging Face hub", PullCommand},
    {"doctor", "say whether this machine can serve, and what to do", DoctorCommand},
    {"serve", "run a cluster on this machine", ServeCommand},
    {"generate", "ask a running server, with or without pictures", GenerateCommand},
    {"attach", "show the answer to a request again, or go on where it stood", AttachCommand},
    {"write", "write a long text with a running server: plan, then sections", WriteCommand},
    {"status", "show what a running server says of itself", StatusCommand},
    {"bench", "measure a running server, ours or another", BenchCommand},
    {"agentwrite", "plans and long texts for a file of instructions", AgentWriteCommand},
    {"eval", "run LongWriter-V's benchmarks on a served model", EvalCommand},
    {"export-training", "make data sets for LLaMA-Factory", ExportTrainingCommand},
    {"chaos", "kill a cluster's processes at random, and check that nothing is lost", ChaosCommand},
    {"tokenize", "turn lines of text into token ids", TokenizeCommand},
};

void PrintHelp(std::FILE* out) {
  std::fprintf(out, "longhand %s: serves LongWriter-V\n\nUsage: longhand VERB [FLAGS]\n\n",
               kVersion);
  for (const Verb& verb : kVerbs) std::fprintf(out, "  %-15s %s\n", verb.name, verb.help);
  std::fprintf(out, "\n`longhand VERB --help` lists the flags of a verb.\n");
}

int Run(const std::vector<std::string>& args) {
  if (args.empty() || args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    PrintHelp(args.empty() ? stderr : stdout);
    return args.empty() ? kExitUsage : kExitOk;
  }
  if (args[0] == "--version") {
    std::printf("longhand %s\n", kVersion);
    return kExitOk;
  }
  const Verb* verb = std::find_if(std::begin(kVerbs), std::end(kVerbs),
                                  [&](const Verb& v) { return args[0] == v.name; });
  const GrpcLog quiet(nullptr);  // Verbs say themselves what went wrong.
  if (verb != std::end(kVerbs)) return verb->run({args.begin() + 1, args.end()});
  std::vector<std::string> names;
  for (const Verb& each : kVerbs) names.push_back(each.name);
  const std::optional<std::string> nearest = NearestName(args[0], names);
  std::fprintf(stderr, "longhand: there is no verb '%s'%s\n\n", args[0].c_str(),
               nearest ? ("; did you mean '" + *nearest + "'?").c_str() : "");
  PrintHelp(stderr);
  return kExitUsage;
}

}  // namespace
}  // namespace longhand::client

int main(int argc, char** argv) { return longhand::client::Run({argv + 1, argv + argc}); }
