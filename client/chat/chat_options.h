// The flags that say which model is asked, and how.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "client/chat/asker.h"
#include "client/connection.h"

namespace CLI {
class App;
}

namespace longhand::client {

struct ChatOptions {
  std::string base_url;  // empty: gRPC
  std::string model;     // of base_url; empty: the first that it lists
  Endpoint endpoint;
  std::chrono::seconds retry_for = kRetryFor;
  std::chrono::seconds timeout{3600};
  bool is_strict = false;  // only the fields that OpenAI itself knows
  TryPolicy tries;
};

void AddChatOptions(CLI::App& app, ChatOptions& options);
// --tries and --retry-pause-ms, for all that is asked.
void AddTryOptions(CLI::App& app, TryPolicy& policy);

using ChatFactory = std::function<std::unique_ptr<ChatModel>()>;

// OPENAI_API_KEY is the key where none is given. Asks base_url for its first model where none is
// named, and writes its name to `options`.
Result<ChatFactory> MakeChatFactory(ChatOptions& options);

// $name, empty where it is not set.
std::string FromEnvironment(const char* name);

}  // namespace longhand::client
