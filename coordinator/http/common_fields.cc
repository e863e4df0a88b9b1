// Sampling and the extensions, as both kinds of completion have them.
#include <charconv>
#include <limits>

#include "coordinator/engine/request.h"
#include "coordinator/http/answer_request.h"

namespace longhand::http {
namespace {

constexpr int64_t kMaxInt64 = std::numeric_limits<int64_t>::max();
constexpr int32_t kMaxInt32 = std::numeric_limits<int32_t>::max();

void ParseNumbers(RequestFields& fields, v1::Sampling* sampling) {
  const auto number = [&](const char* name) -> std::optional<float> {
    const std::optional<double> value = fields.Number(name);
    return value ? std::optional(static_cast<float>(*value)) : std::nullopt;
  };
  if (const auto value = number("temperature")) sampling->set_temperature(*value);
  if (const auto value = number("top_p")) sampling->set_top_p(*value);
  if (const auto value = number("min_p")) sampling->set_min_p(*value);
  if (const auto value = number("repetition_penalty")) sampling->set_repetition_penalty(*value);
  if (const auto value = number("presence_penalty")) sampling->set_presence_penalty(*value);
  if (const auto value = number("frequency_penalty")) sampling->set_frequency_penalty(*value);
  // vLLM writes -1 for "off".
  if (const auto value = fields.Int("top_k", -1, kMaxInt32))
    sampling->set_top_k(static_cast<int32_t>(std::max<int64_t>(*value, 0)));
  if (const auto value = fields.Seed("seed")) sampling->set_seed(*value);
  if (const auto value = fields.Int("n", 1, 16)) sampling->set_n(static_cast<uint32_t>(*value));
  if (const auto value = fields.Int("min_tokens", 0, kMaxInt64)) sampling->set_min_tokens(*value);
  sampling->set_ignore_eos(fields.Bool("ignore_eos", false));
}

void ParseMaxTokens(RequestFields& fields, AnswerRequest* out) {
  v1::Sampling* sampling = out->wire.mutable_sampling();
  // 0 is for a completion that shows its prompt.
  const bool may_echo = out->form.kind() == journal::v1::AnswerForm::KIND_TEXT_COMPLETION &&
                        fields.Bool("echo", false);
  const int64_t least = may_echo ? 0 : 1;
  const auto old_name = fields.Int("max_tokens", least, kMaxInt64);
  const auto new_name = fields.Int("max_completion_tokens", least, kMaxInt64);
  if (old_name && new_name && *old_name != *new_name) {
    fields.Fail("max_tokens", "it must be the same as max_completion_tokens, which is " +
                                  std::to_string(*new_name));
  }
  const auto value = new_name ? new_name : old_name;
  if (value) sampling->set_max_tokens(*value);
}

void ParseStops(RequestFields& fields, v1::Sampling* sampling) {
  if (const boost::json::value* stop = fields.Find("stop")) {
    if (const auto* one = stop->if_string()) {
      sampling->add_stop(std::string(*one));
    } else if (!stop->is_array()) {
      fields.Fail("stop", "it must be a string or a list of strings");
    } else {
      for (const boost::json::value& each : stop->get_array()) {
        if (!each.is_string()) return fields.Fail("stop", "it must hold strings only");
        sampling->add_stop(std::string(each.get_string()));
      }
    }
  }
  const boost::json::value* ids = fields.Find("stop_token_ids");
  if (ids == nullptr) return;
  if (!ids->is_array()) return fields.Fail("stop_token_ids", "it must be a list of token ids");
  for (const boost::json::value& id : ids->get_array()) {
    const std::optional<int32_t> number = TokenId(id);
    if (!number) return fields.Fail("stop_token_ids", "it must hold token ids only");
    sampling->add_stop_token_ids(*number);
  }
}

// The number that a key spells in the one way that JSON would: "5" and "05" would be one token
// twice.
std::optional<int32_t> TokenIdOfKey(std::string_view key) {
  int32_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || std::to_string(id) != key) return std::nullopt;
  return id;
}

void ParseBiases(RequestFields& fields, v1::Sampling* sampling) {
  const boost::json::object* biases = fields.Object("logit_bias");
  if (biases == nullptr) return;
  for (const auto& [key, value] : *biases) {
    const std::optional<int32_t> id = TokenIdOfKey(key);
    if (!id) {
      return fields.Fail("logit_bias", InvalidArgument("logit_bias has the key ", Shown(key),
                                                       "; keys must be token ids"));
    }
    boost::system::error_code error;
    const double bias = value.is_number() ? value.to_number<double>(error) : 0;
    if (!value.is_number() || error) {
      return fields.Fail("logit_bias", InvalidArgument("logit_bias of token ", *id, " is ",
                                                       Shown(value), "; it must be a number"));
    }
    (*sampling->mutable_logit_bias())[*id] = static_cast<float>(bias);
  }
}

void ParseStreamOptions(RequestFields& fields, AnswerRequest* out) {
  out->stream = fields.Bool("stream", false);
  if (fields.Find("bare_events") != nullptr) out->bare_events = fields.Bool("bare_events", false);
  const boost::json::object* options = fields.Object("stream_options");
  if (options == nullptr) return;
  if (!out->stream) return fields.Fail("stream_options", "it is for requests with stream: true");
  RequestFields inner(*options);
  out->form.set_include_usage(inner.Bool("include_usage", false));
  const bool is_continuous = inner.Bool("continuous_usage_stats", false);
  out->form.set_continuous_usage(is_continuous && out->form.include_usage());
  if (!inner.status().ok()) fields.Fail("stream_options", inner.status());
}

void ParseOwnFields(RequestFields& fields, AnswerRequest* out) {
  if (auto id = fields.String("request_id")) out->wire.set_request_id(std::move(*id));
  if (auto salt = fields.String("cache_salt")) out->wire.set_cache_salt(std::move(*salt));
  if (const auto priority = fields.Int("priority", -100, 100))
    out->wire.set_priority(static_cast<int32_t>(*priority));
  if (const auto what = fields.String("on_disconnect")) {
    if (*what == "cancel") {
      out->wire.set_on_disconnect(v1::ON_DISCONNECT_CANCEL);
    } else if (*what == "continue") {
      out->wire.set_on_disconnect(v1::ON_DISCONNECT_CONTINUE);
    } else {
      fields.Fail("on_disconnect", "it must be 'cancel' or 'continue'");
    }
  }
  out->wire.mutable_return_()->set_token_ids(fields.Bool("return_token_ids", false));
  out->wire.mutable_return_()->set_prompt_token_ids(
      fields.Bool("prompt_token_ids", out->wire.return_().token_ids()));
  if (const auto words = fields.Int("target_words", 1, engine::kMaxTargetWords))
    out->wire.mutable_length()->set_target_words(*words);
  if (fields.Has("repetition_guard")) {
    out->wire.mutable_sampling()->set_repetition_guard(fields.Bool("repetition_guard", false));
  }
}

// Usage so far is counted where events are written, from the ids that they then have.
void CountTokens(AnswerRequest* out) {
  if (!out->form.continuous_usage()) return;
  v1::Return* wanted = out->wire.mutable_return_();
  out->form.set_hides_token_ids(!wanted->token_ids());
  out->form.set_hides_prompt_token_ids(!wanted->prompt_token_ids());
  wanted->set_token_ids(true);
  wanted->set_prompt_token_ids(true);
}

// "none" and "auto" ask for what is done anyway.
void RefuseForcedCall(RequestFields& fields, const char* name) {
  const boost::json::value* choice = fields.Find(name);
  if (choice != nullptr && *choice != "none" && *choice != "auto")
    fields.Refuse(name, "the model calls no tools");
}

void RefuseWhatIsNotDone(RequestFields& fields) {
  fields.Refuse("tools", "the model calls no tools");
  fields.Refuse("functions", "the model calls no functions");
  for (const char* name : {"tool_choice", "function_call"}) RefuseForcedCall(fields, name);
  fields.Refuse("audio", "the model has no voice");
  fields.Refuse("suffix", "text is not inserted");
  fields.Refuse("chat_template", "the checkpoint's own is used");
  fields.Refuse("documents", "the checkpoint's template takes none");
  fields.Refuse("mm_processor_kwargs", "pictures have the sizes that the server was started with");
  fields.Refuse("continue_final_message", "an answer is a message of its own");
  fields.Refuse("truncate_prompt_tokens", "no prompt is cut");
  fields.Refuse("use_beam_search", "answers are sampled");
  fields.Refuse("include_stop_str_in_output", "a stop string is no part of the answer");
  for (const char* name : {"bad_words", "allowed_token_ids"})
    fields.Refuse(name, "logits are changed by penalties and logit_bias only");
  fields.RefuseFalse("add_generation_prompt", "an answer is a message of its own");
  fields.RefuseFalse("skip_special_tokens", "return_token_ids shows them");
  const boost::json::value* modalities = fields.Find("modalities");
  if (modalities != nullptr && *modalities != boost::json::array{"text"})
    fields.Fail("modalities", "it must be [\"text\"]: the model writes text");
}

}  // namespace

void ParseCommonFields(RequestFields& fields, AnswerRequest* out) {
  RefuseWhatIsNotDone(fields);
  if (auto model = fields.String("model")) out->wire.set_model(std::move(*model));
  v1::Sampling* sampling = out->wire.mutable_sampling();
  ParseNumbers(fields, sampling);
  ParseMaxTokens(fields, out);
  ParseStops(fields, sampling);
  ParseBiases(fields, sampling);
  ParseStreamOptions(fields, out);
  ParseOwnFields(fields, out);
  ParseConstraint(fields, out);
  CountTokens(out);
}

void ParsePromptLogprobs(RequestFields& fields, AnswerRequest* out) {
  const auto num_top = fields.Int("prompt_logprobs", 0, kMaxTopLogprobs);
  if (!num_top) return;
  if (out->stream) {
    return fields.Fail("prompt_logprobs",
                       InvalidArgument("prompt_logprobs is ", *num_top,
                                       " and stream is true; whole answers have them"));
  }
  out->form.set_has_prompt_logprobs(true);
  out->wire.mutable_return_()->set_prompt_logprobs(true);
  out->wire.mutable_return_()->set_top_prompt_logprobs(static_cast<int32_t>(*num_top));
}

}  // namespace longhand::http
