#include "client/bench/bench_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <future>

#include "client/bench/bench_prompts.h"
#include "client/bench/bench_run.h"
#include "client/connection.h"
#include "client/generate/chat_file.h"
#include "common/options/command_line.h"

namespace longhand::client {
namespace {

constexpr std::chrono::milliseconds kRedrawEvery(200);
constexpr std::chrono::seconds kPlainEvery(10);

struct BenchOptions {
  std::string base_url;
  Endpoint endpoint;
  std::string model;
  int64_t num_prompts = 32;
  double request_rate = 0;
  int max_concurrency = 0;
  int64_t prompt_words = 128;
  std::string prompts_file;
  std::vector<std::string> images;
  BenchRequest request{.max_tokens = 128};
  int64_t timeout = 3600;
  bool json = false;
};

void AddBenchOptions(CLI::App& app, BenchOptions& o) {
  app.add_option(
      "--base-url", o.base_url,
      "http(s)://host:port of OpenAI's endpoints; --api-key or OPENAI_API_KEY is its key");
  app.add_option("--model", o.model,
                 "With --base-url: the model; the first that it lists by default");
  app.add_option("--num-prompts", o.num_prompts, "Requests")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--request-rate", o.request_rate,
                 "Requests a second, arriving at random; 0: all at once")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  app.add_option("--max-concurrency", o.max_concurrency,
                 "Requests at once; 0: 8 without a rate, 256 with one")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app.add_option("--prompt-words", o.prompt_words, "Words of a random prompt")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--prompts", o.prompts_file,
                 "File with a prompt a line, as text or {\"prompt\": \"...\"}, instead");
  app.add_option("--image", o.images,
                 "Picture that goes with each prompt; may be given several times");
  app.add_option("--max-tokens", o.request.max_tokens, "Tokens of an answer")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->capture_default_str();
  app.add_flag("--ignore-eos", o.request.ignore_eos,
               "Answers have all of --max-tokens (vLLM's extension, and ours)");
  app.add_option("--temperature", o.request.temperature, "The server's by default")
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--seed", o.request.seed, "Of prompts, arrivals and answers")
      ->capture_default_str();
  app.add_option("--timeout", o.timeout, "Seconds that one request may take")
      ->check(CLI::Range(1, 7 * 24 * 3600))
      ->capture_default_str();
  app.add_flag("--json", o.json,
               "No progress; one JSON object at the end, with the names of vLLM's benchmark");
}

Result<std::vector<Picture>> ReadImages(const std::vector<std::string>& paths) {
  std::vector<Picture> images;
  for (const std::string& path : paths) {
    LONGHAND_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
    images.push_back(PictureOf(std::move(bytes)));
  }
  return images;
}

Result<BenchLoad> MakeLoad(const BenchOptions& o, const std::vector<Picture>& images) {
  BenchLoad load;
  if (o.prompts_file.empty()) {
    load.prompts = RandomPrompts(o.num_prompts, o.prompt_words, o.request.seed);
  } else {
    LONGHAND_ASSIGN_OR_RETURN(load.prompts, PromptsOfFile(o.prompts_file, o.num_prompts));
  }
  load.arrivals = ArrivalTimes(o.num_prompts, o.request_rate, o.request.seed);
  load.request = o.request;
  load.request.images = &images;
  load.max_concurrency = o.max_concurrency > 0 ? o.max_concurrency : o.request_rate > 0 ? 256 : 8;
  return load;
}

std::string ProgressLine(const BenchProgress& progress, int64_t num_prompts) {
  return fmt::format("{} of {} requests, {} failed, {} running, {} pieces",
                     progress.completed + progress.failed, num_prompts, progress.failed.load(),
                     progress.running.load(), progress.pieces.load());
}

BenchRun RunAndShow(const BenchLoad& load,
                    const std::function<std::unique_ptr<BenchTarget>()>& make_target,
                    bool is_quiet) {
  const bool is_terminal = isatty(STDERR_FILENO) == 1;
  BenchProgress progress;
  auto run = std::async(std::launch::async, [&] { return RunBench(load, make_target, progress); });
  auto shown = std::chrono::steady_clock::now();
  while (run.wait_for(kRedrawEvery) != std::future_status::ready) {
    if (is_quiet) continue;
    const std::string line = ProgressLine(progress, static_cast<int64_t>(load.prompts.size()));
    if (is_terminal) {
      fmt::print(stderr, "\r\033[K{}", line);
    } else if (const auto now = std::chrono::steady_clock::now(); now - shown >= kPlainEvery) {
      fmt::print(stderr, "{}\n", line);
      shown = now;
    }
    std::fflush(stderr);
  }
  if (!is_quiet && is_terminal) fmt::print(stderr, "\r\033[K");
  return run.get();
}

int Fail(const Status& status) {
  std::fprintf(stderr, "longhand bench serve: %s\n", status.ToString().c_str());
  return status.code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailed;
}

// Opens connections, fills caches, and shows at once what is wrong.
Status WarmUp(const BenchLoad& load, BenchTarget& target) {
  BenchRequest request = load.request;
  request.prompt = "Write one sentence.";
  request.max_tokens = std::min<int64_t>(request.max_tokens, 8);
  return target.Ask(request, [](std::string_view) {}).status();
}

int BenchServe(const std::vector<std::string>& args) {
  CLI::App app{
      "Measures a server: the time to the first token (TTFT), a token after it (TPOT), between "
      "pieces of "
      "the stream\n(ITL), of whole answers (E2E); tokens and words a second. One short request "
      "goes ahead "
      "and is not counted.\nExit code 1 when a request failed.",
      "longhand bench serve"};
  BenchOptions options;
  AddBenchOptions(app, options);
  for (CLI::Option* option : app.get_options()) {
    option->configurable(false);
    if (option->get_items_expected_max() == 1) option->take_last();
  }
  AddEndpointOption(app, options.endpoint);
  app.get_option("--endpoint")->description("Without --base-url: host:port of the server's gRPC");
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  const Result<std::vector<Picture>> images = ReadImages(options.images);
  if (!images.ok()) return Fail(images.status());
  const Result<BenchLoad> load = MakeLoad(options, *images);
  if (!load.ok()) return Fail(load.status());
  const std::chrono::seconds timeout(options.timeout);
  const char* of_environment = std::getenv("OPENAI_API_KEY");
  const std::string fallback = of_environment == nullptr ? "" : of_environment;
  const std::string& given = options.endpoint.api_key;
  OpenAiAddress address{options.base_url, options.model, given.empty() ? fallback : given,
                        options.endpoint.tls_ca, timeout};
  if (!options.base_url.empty() && options.model.empty()) {
    Result<std::string> model = FirstModel(address);
    if (!model.ok()) return Fail(model.status());
    address.model = std::move(*model);
  }
  const auto make_target = [&]() {
    return options.base_url.empty() ? MakeGrpcTarget(options.endpoint, timeout)
                                    : MakeOpenAiTarget(address);
  };
  if (const Status status = WarmUp(*load, *make_target()); !status.ok()) return Fail(status);
  const BenchRun run = RunAndShow(*load, make_target, options.json);
  const BenchReport report = BenchReport::Of(run.samples, run.duration);
  std::printf("%s", (options.json ? report.Json() + "\n" : report.Table()).c_str());
  return report.failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace

int BenchCommand(const std::vector<std::string>& args) {
  if (!args.empty() && args[0] == "serve") return BenchServe({args.begin() + 1, args.end()});
  const bool wants_help = !args.empty() && (args[0] == "--help" || args[0] == "-h");
  std::fprintf(wants_help ? stdout : stderr,
               "Usage: longhand bench serve [FLAGS]\n\n  serve  measure a server: latencies, "
               "tokens and words a second\n\n"
               "`longhand bench serve --help` lists the flags.\n");
  return wants_help ? kExitOk : kExitUsage;
}

}  // namespace longhand::client
