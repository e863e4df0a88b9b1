#include "client/eval/eval_options.h"

#include <CLI/CLI.hpp>
#include <cctype>
#include <cstdio>

#include "client/rows/result_log.h"
#include "common/options/command_line.h"

namespace longhand::client {
namespace {

template <typename T>
boost::json::value ValueOf(const std::optional<T>& option) {
  return option ? boost::json::value(*option) : boost::json::value(nullptr);
}

}  // namespace

void AddEvalOptions(CLI::App& app, EvalOptions& o) {
  app.add_option("--data", o.data,
                 "A .parquet or .jsonl file, a folder with *.parquet (or data/*.parquet), or "
                 "ORG/NAME of the hub")
      ->capture_default_str()
      ->take_last();
  app.add_option("--revision", o.revision, "Of ORG/NAME: branch, tag or commit")
      ->capture_default_str()
      ->take_last();
  app.add_option("--out", o.out, "Folder of results; what is there is not done again")
      ->capture_default_str()
      ->take_last();
  app.add_option("--name", o.name, "What the model is called; --model's last part by default")
      ->take_last();
  app.add_option("--concurrency", o.concurrency, "Texts that are written at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->take_last();
  app.add_option("--limit", o.limit, "Only the first rows; 0: all")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str()
      ->take_last();
  app.add_flag("--target-words", o.holds_length,
               "Our server holds each text to the words that are asked for; otherwise the prompt "
               "alone asks for them");
  app.add_flag("--documents", o.documents,
               "Our server plans each text and writes it section by section (--endpoint only; "
               "--max-tokens does not count)");
  app.add_flag("--json", o.json, "No table; one JSON object at the end");
  AddSamplingOptions(app, o.sampling);
  AddChatOptions(app, o.chat);
}

Status CheckEvalOptions(const EvalOptions& o) {
  if (o.chat.base_url.empty()) return OkStatus();
  if (o.documents)
    return InvalidArgument("--documents is a call of our gRPC: give --endpoint, not --base-url");
  if (o.holds_length && o.chat.is_strict)
    return InvalidArgument("--target-words is our server's field; --strict-openai leaves it out");
  return OkStatus();
}

std::string NameOf(const EvalOptions& o) {
  std::string name = o.name;
  if (name.empty()) name = o.chat.model.substr(o.chat.model.rfind('/') + 1);  // npos + 1 is 0
  if (name.empty()) name = "longhand";
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_') c = '-';
  return name;
}

boost::json::object SettingsOf(const EvalOptions& o) {
  const SamplingOptions& s = o.sampling;
  return {{"data", o.data},
          {"model", o.chat.model},
          {"temperature", ValueOf(s.temperature)},
          {"top_p", ValueOf(s.top_p)},
          {"top_k", ValueOf(s.top_k)},
          {"min_p", ValueOf(s.min_p)},
          {"seed", ValueOf(s.seed)},
          {"repetition_penalty", ValueOf(s.repetition_penalty)},
          {"presence_penalty", ValueOf(s.presence_penalty)},
          {"frequency_penalty", ValueOf(s.frequency_penalty)},
          {"max_tokens", ValueOf(s.max_tokens)},
          {"target_words", o.holds_length},
          {"documents", o.documents}};
}

std::string ReadableSettings(const boost::json::object& settings) {
  std::string out;
  for (const auto& [name, value] : settings) {
    if (value.is_null() || value == "") continue;
    if (!out.empty()) out += ", ";
    out += std::string(name) + " " + ReadableValue(value);
  }
  return out;
}

int ExitOf(const char* verb, const Result<int64_t>& num_failed) {
  if (num_failed.ok()) return *num_failed == 0 ? kExitOk : kExitFailed;
  const Status& status = num_failed.status();
  std::fprintf(stderr, "longhand eval %s: %s\n", verb, status.ToString().c_str());
  return status.code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailed;
}

}  // namespace longhand::client
