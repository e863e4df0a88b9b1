#include "client/generate/generate_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <string_view>

#include "client/generate/chat_file.h"
#include "common/request_id.h"

namespace longhand::client {
namespace {

// The whole text as a number.
template <typename Number>
bool Read(std::string_view text, Number* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

Status SetLogitBiases(const std::vector<std::string>& given, v1::Sampling* sampling) {
  for (const std::string& each : given) {
    const size_t middle = std::min(each.find('='), each.size());
    int32_t id = 0;
    float bias = 0;
    if (!Read(std::string_view(each).substr(0, middle), &id) || middle == each.size() ||
        !Read(std::string_view(each).substr(middle + 1), &bias)) {
      return InvalidArgument("--logit-bias is '", each,
                             "'; it must be a token id, =, and a number, such as 42=-100");
    }
    (*sampling->mutable_logit_bias())[id] = bias;
  }
  return OkStatus();
}

void SetExtraSampling(const GenerateOptions& o, v1::Sampling* sampling) {
  for (const std::string& stop : o.stop) sampling->add_stop(stop);
  for (const int32_t id : o.stop_token_ids) sampling->add_stop_token_ids(id);
  if (o.min_tokens) sampling->set_min_tokens(*o.min_tokens);
  sampling->set_ignore_eos(o.ignore_eos);
  if (o.repetition_guard == "on") sampling->set_repetition_guard(true);
  if (o.n) sampling->set_n(*o.n);
}

}  // namespace

void AddGenerateOptions(CLI::App& app, GenerateOptions& o) {
  AddEndpointOption(app, o.endpoint);
  app.add_option("--model", o.model, "An adapter's name; the server's model by default")
      ->configurable(false)  // LONGHAND_MODEL is what is served.
      ->take_last();
  app.add_option("--prompt", o.prompt, "What to ask, as one user message");
  app.add_option("--image", o.images,
                 "Picture that the prompt is about; may be given several times");
  app.add_option("--messages", o.messages_file,
                 "File with OpenAI chat messages; pictures as paths or data URLs");
  app.add_option("--text", o.raw_text, "Raw prompt, without the chat template");
  AddSamplingOptions(app, o.sampling);
  app.add_option("--min-tokens", o.min_tokens, "Shortest answer")->take_last();
  app.add_option("--target-words", o.target_words,
                 "Words that the answer is held to, as LongWriter-V's benchmarks count them; ask "
                 "for them in the prompt as well")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000}))
      ->take_last();
  app.add_option("--repetition-guard", o.repetition_guard,
                 "Whether an answer that goes round in a circle is led out of it, and ended where "
                 "that is in vain")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str()
      ->take_last();
  CLI::Option* schema = app.add_option("--json-schema", o.json_schema_file,
                                       "File with a JSON schema that the answer is held to")
                            ->take_last();
  app.add_option("--regex", o.regex, "Regular expression that the whole answer is held to")
      ->excludes(schema)
      ->take_last();
  app.add_option("--stop", o.stop, "Text that ends the answer; may be given several times");
  app.add_option("--stop-token-id", o.stop_token_ids,
                 "Token that ends the answer; may be given several times");
  app.add_option("--logit-bias", o.logit_biases,
                 "ID=VALUE: what is added to a token's logit, -100 to 100; may be given several "
                 "times");
  app.add_flag("--ignore-eos", o.ignore_eos, "Go on after the end-of-sequence token");
  app.add_option("--n", o.n, "Answers to the one prompt")->take_last();
  app.add_option("--logprobs", o.logprobs,
                 "Log-probabilities, with the k best at each token (--json)")
      ->take_last();
  app.add_option("--prompt-logprobs", o.prompt_logprobs,
                 "Log-probabilities of the prompt's tokens, with the k best at each (--json)")
      ->take_last();
  app.add_option("--priority", o.priority,
                 "Place in the queue, -100 (earliest) to 100: a level is worth 30 s of waiting")
      ->capture_default_str()
      ->take_last();
  app.add_option("--cache-salt", o.cache_salt,
                 "Names the tenant that the request is counted for, where API keys do not")
      ->take_last();
  app.add_option("--request-id", o.request_id,
                 "Names the request for `longhand attach`; the same again is no new request")
      ->take_last();
  app.add_option("--on-disconnect", o.on_disconnect,
                 "What becomes of the answer when this program is gone without a word; Ctrl-C "
                 "cancels it in any case")
      ->check(CLI::IsMember({"continue", "cancel"}))
      ->capture_default_str()
      ->take_last();
  AddRetryOption(app, o.retry_for);
  app.add_flag("--json", o.json, "No stream: one JSON object at the end");
}

Result<v1::GenerateRequest> MakeRequest(const GenerateOptions& options) {
  const int ways =
      !options.prompt.empty() + !options.messages_file.empty() + !options.raw_text.empty();
  if (ways != 1) return InvalidArgument("give exactly one of --prompt, --messages and --text");
  v1::GenerateRequest request;
  if (!options.messages_file.empty()) {
    if (!options.images.empty())
      return InvalidArgument(
          "--image goes with --prompt or --text; --messages names its own pictures");
    LONGHAND_RETURN_IF_ERROR(ReadChatFile(options.messages_file, &request));
  } else if (!options.raw_text.empty()) {
    request.set_text(options.raw_text);
    for (const std::string& path : options.images) {
      LONGHAND_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
      request.add_images()->set_data(std::move(bytes));
    }
  } else {
    LONGHAND_RETURN_IF_ERROR(SetPrompt(options.prompt, options.images, &request));
  }
  request.set_request_id(options.request_id.empty() ? DrawRequestId("cli") : options.request_id);
  request.set_on_disconnect(options.on_disconnect == "continue" ? v1::ON_DISCONNECT_CONTINUE
                                                                : v1::ON_DISCONNECT_CANCEL);
  request.set_model(options.model);
  request.set_priority(options.priority);
  request.set_cache_salt(options.cache_salt);
  SetSampling(options.sampling, request.mutable_sampling());
  SetExtraSampling(options, request.mutable_sampling());
  LONGHAND_RETURN_IF_ERROR(SetLogitBiases(options.logit_biases, request.mutable_sampling()));
  if (options.target_words) request.mutable_length()->set_target_words(*options.target_words);
  if (!options.regex.empty()) request.mutable_constraint()->set_regex(options.regex);
  if (!options.json_schema_file.empty()) {
    LONGHAND_ASSIGN_OR_RETURN(std::string schema, ReadFile(options.json_schema_file));
    request.mutable_constraint()->set_json_schema(std::move(schema));
  }
  v1::Return* wanted = request.mutable_return_();
  wanted->set_token_ids(true);
  wanted->set_prompt_token_ids(options.json);
  if (options.logprobs) wanted->set_logprobs(*options.logprobs);
  wanted->set_prompt_logprobs(options.prompt_logprobs.has_value());
  wanted->set_top_prompt_logprobs(options.prompt_logprobs.value_or(0));
  return request;
}

}  // namespace longhand::client
