#include "client/chat/chat_options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>

namespace longhand::client {

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void AddTryOptions(CLI::App& app, TryPolicy& policy) {
  app.add_option("--tries", policy.max_tries,
                 "How often a question is asked where it meets an error that may pass")
      ->check(CLI::Range(1, 100))
      ->capture_default_str()
      ->take_last();
  app.add_option_function<int64_t>(
         "--retry-pause-ms",
         [&](int64_t pause) { policy.pause = std::chrono::milliseconds(pause); }, "Between tries")
      ->check(CLI::Range(0, 600000))
      ->default_str(std::to_string(policy.pause.count()))
      ->take_last();
}

void AddChatOptions(CLI::App& app, ChatOptions& o) {
  app.add_option("--base-url", o.base_url,
                 "http(s)://host:port of OpenAI's endpoints; --api-key or OPENAI_API_KEY is its "
                 "key. Without it: --endpoint")
      ->take_last();
  app.add_option("--model", o.model,
                 "With --base-url: the model; the first that it lists by default")
      ->take_last();
  app.add_flag("--strict-openai", o.is_strict,
               "With --base-url: no fields that OpenAI itself refuses (top_k, min_p, "
               "repetition_penalty)");
  app.add_option_function<int64_t>(
         "--timeout", [&](int64_t seconds) { o.timeout = std::chrono::seconds(seconds); },
         "With --base-url: seconds that one answer may take")
      ->check(CLI::Range(1, 7 * 24 * 3600))
      ->default_str(std::to_string(o.timeout.count()))
      ->take_last();
  AddTryOptions(app, o.tries);
  // Above only: the endpoint's flags are also settings of the environment.
  for (CLI::Option* option : app.get_options()) option->configurable(false);
  AddEndpointOption(app, o.endpoint);
  app.get_option("--endpoint")->description("Without --base-url: host:port of the server's gRPC");
  AddRetryOption(app, o.retry_for);
}

Result<ChatFactory> MakeChatFactory(ChatOptions& o) {
  if (o.base_url.empty()) {
    const std::shared_ptr<grpc::Channel> channel = Connect(o.endpoint);
    return ChatFactory(
        [channel, retry_for = o.retry_for] { return MakeGrpcChat(channel, retry_for); });
  }
  OpenAiAddress address{
      o.base_url, o.model,
      o.endpoint.api_key.empty() ? FromEnvironment("OPENAI_API_KEY") : o.endpoint.api_key,
      o.endpoint.tls_ca, o.timeout};
  if (o.model.empty()) {
    LONGHAND_ASSIGN_OR_RETURN(o.model, FirstModel(address));
    address.model = o.model;
  }
  return ChatFactory(
      [address, has_extensions = !o.is_strict] { return MakeOpenAiChat(address, has_extensions); });
}

}  // namespace longhand::client
