#include "client/pull/pull_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <future>

#include "client/pull/pull.h"
#include "client/pull/pull_printer.h"
#include "common/hub_cache.h"
#include "common/options/command_line.h"

namespace longhand::client {
namespace {

constexpr std::chrono::milliseconds kRedrawEvery(200);

int Fail(const Status& status) {
  std::fprintf(stderr, "longhand pull: %s\n", status.message().c_str());
  return status.code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailed;
}

void PrintJson(const PullOptions& options,
               const PulledRepository& model,
               const PullProgress& progress) {
  boost::json::array files;
  for (const RepositoryFile& file : model.repository.files)
    files.push_back({{"name", file.name}, {"size", file.size}, {"digest", file.digest}});
  const boost::json::object result = {{"id", options.id},
                                      {"revision", options.revision},
                                      {"commit", model.repository.commit},
                                      {"path", model.snapshot.string()},
                                      {"total_bytes", progress.total_bytes.load()},
                                      {"downloaded_bytes", progress.downloaded_bytes.load()},
                                      {"files", files}};
  std::printf("%s\n", boost::json::serialize(result).c_str());
}

}  // namespace

int PullCommand(const std::vector<std::string>& args) {
  CLI::App app{
      "Downloads a model into Hugging Face's cache (HF_HOME, HF_HUB_CACHE), from where `serve "
      "--model ORG/NAME` "
      "takes it:\nits safetensors, JSON, tokenizer files and chat template; never pickles. What is "
      "there is kept, "
      "what was begun goes on.\nHF_ENDPOINT names a mirror, HF_TOKEN (or `hf auth login`) opens "
      "gated models. "
      "With --dataset: a data set's Parquet files, which `eval` and `export-training` read.\n"
      "Prints the snapshot's directory.",
      "longhand pull"};
  PullOptions options;
  bool json = false;
  bool is_dataset = false;
  app.add_option("ID", options.id, "Repository of the hub: org/name")->required();
  app.add_flag("--dataset", is_dataset, "ID is a data set")->configurable(false);
  app.add_option("--revision", options.revision, "Branch, tag or commit")
      ->capture_default_str()
      ->configurable(false)
      ->take_last();
  app.add_option("--jobs", options.num_jobs, "Files that are downloaded at once")
      ->check(CLI::Range(1, 16))
      ->capture_default_str()
      ->configurable(false)
      ->take_last();
  app.add_flag("--json", json, "No progress; one JSON object at the end")->configurable(false);
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  options.cache = HubCache();
  if (is_dataset) options.kind = RepositoryKind::kDataset;
  const Result<HubAccess> access = HubAccess::FromEnvironment();
  if (!access.ok()) return Fail(access.status());

  PullProgress progress;
  PullPrinter printer(progress, isatty(STDERR_FILENO) == 1, json);
  auto pulled = std::async(std::launch::async, [&] { return Pull(options, *access, progress); });
  while (pulled.wait_for(kRedrawEvery) != std::future_status::ready) printer.Update();
  printer.Close();
  const Result<PulledRepository> model = pulled.get();
  if (!model.ok()) return Fail(model.status());
  if (json) {
    PrintJson(options, *model, progress);
  } else {
    std::printf("%s\n", model->snapshot.c_str());
  }
  return kExitOk;
}

}  // namespace longhand::client
