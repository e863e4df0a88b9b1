// The flags that both benchmarks have.
#pragma once

#include <boost/json.hpp>
#include <filesystem>
#include <string>

#include "client/chat/chat_options.h"
#include "client/generate/sampling_options.h"

namespace CLI {
class App;
}

namespace longhand::client {

struct EvalOptions {
  std::string data;
  std::string revision = "main";
  std::filesystem::path out = "data/eval_res";
  std::string name;  // of the model, in files and tables; empty: --model's last part
  ChatOptions chat;
  SamplingOptions sampling;
  int concurrency = 8;
  int64_t limit = 0;
  bool holds_length = false;  // the server, to the words that are asked for
  bool documents = false;     // the server plans each text and writes it section by section
  bool json = false;
};

void AddEvalOptions(CLI::App& app, EvalOptions& options);

// kInvalidArgument where flags exclude each other.
Status CheckEvalOptions(const EvalOptions& options);

// What the model is called in files: letters, digits, '.', '_' and '-' of its name.
std::string NameOf(const EvalOptions& options);
// What the texts depend on, for the log.
boost::json::object SettingsOf(const EvalOptions& options);
// "temperature 0.9, top_p 0.95": what is set, for a person.
std::string ReadableSettings(const boost::json::object& settings);

// The exit code of a run in which so many rows failed, or none could be tried: then stderr gets
// "longhand eval NAME: INVALID_ARGUMENT: ...".
int ExitOf(const char* verb, const Result<int64_t>& num_failed);

}  // namespace longhand::client
