#include "coordinator/http/token_handler.h"

#include <utility>

#include "coordinator/http/answer_request.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/json_body.h"
#include "coordinator/http/pool_job.h"

namespace longhand::http {
namespace json = boost::json;

boost::asio::awaitable<void> TokenHandler::Tokenize(Exchange& exchange) {
  return Run(exchange, [this](RequestFields& fields) { return TokenizeFields(fields); });
}

boost::asio::awaitable<void> TokenHandler::Detokenize(Exchange& exchange) {
  return Run(exchange, [this](RequestFields& fields) { return DetokenizeFields(fields); });
}

boost::asio::awaitable<void> TokenHandler::Run(Exchange& exchange, Work work) {
  const Result<Response> response =
      co_await OnPool<Response>(exchange, pool_, [&]() -> Result<Response> {
        LONGHAND_ASSIGN_OR_RETURN(const json::object body, ParseJsonBody(exchange.request().body));
        RequestFields fields(body);
        const Result<json::object> answer = work(fields);
        LONGHAND_RETURN_IF_ERROR(fields.status());
        if (!answer.ok()) return answer.status();
        return Response{.body = json::serialize(*answer)};
      });
  Response reply = response.ok() ? *response : ErrorResponse(response.status());
  co_await exchange.Reply(std::move(reply));
}

// Of a text, control tokens parsed; or of a chat, as it would be asked, its pictures' tokens too.
Result<json::object> TokenHandler::TokenizeFields(RequestFields& fields) const {
  std::vector<int32_t> ids;
  fields.Refuse("tools", "the model calls no tools");
  fields.Refuse("chat_template", "the checkpoint's own is used");
  fields.Refuse("continue_final_message", "an answer is a message of its own");
  fields.Refuse("return_token_strs", "/detokenize gives the text of tokens");
  fields.RefuseFalse("add_generation_prompt", "a chat is counted as it would be asked");
  const std::string model = fields.String("model").value_or("");
  const std::optional<std::string> prompt = fields.String("prompt");
  LONGHAND_RETURN_IF_ERROR(fields.status());
  if (const json::value* messages = fields.Find("messages")) {
    AnswerRequest request;
    request.wire.set_model(model);
    ParseTemplateArguments(fields, &request);
    if (const Status status = ParseMessages(*messages, &request); !status.ok()) {
      fields.Fail("messages", status);
      return fields.status();
    }
    if (!request.image_urls.empty())
      fields.Fail("messages", InvalidArgument("pictures are counted from data URLs only"));
    LONGHAND_RETURN_IF_ERROR(fields.status());
    LONGHAND_ASSIGN_OR_RETURN(engine::Request prepared, intake_.preparer().Prepare(request.wire));
    ids = std::move(prepared.token_ids);
  } else {
    v1::TokenizeRequest request;
    request.set_model(model);
    request.set_parse_control(true);
    if (!prompt) {
      fields.Fail("prompt", "it must be a string, or messages a list");
      return fields.status();
    }
    request.set_text(*prompt);
    LONGHAND_ASSIGN_OR_RETURN(ids, intake_.Tokenize(request));
  }
  return json::object{{"count", ids.size()},
                      {"max_model_len", intake_.preparer().max_model_len()},
                      {"tokens", json::array(ids.begin(), ids.end())}};
}

Result<json::object> TokenHandler::DetokenizeFields(RequestFields& fields) const {
  v1::DetokenizeRequest request;
  request.set_model(fields.String("model").value_or(""));
  request.set_skip_special_tokens(fields.Bool("skip_special_tokens", false));
  const json::value* tokens = fields.Find("tokens");
  if (tokens == nullptr || !tokens->is_array()) {
    fields.Fail("tokens", "it must be a list of token ids");
    return fields.status();
  }
  for (const json::value& id : tokens->get_array()) {
    const std::optional<int32_t> number = TokenId(id);
    if (!number) {
      fields.Fail("tokens",
                  InvalidArgument("tokens holds ", Shown(id), "; it must hold token ids"));
      return fields.status();
    }
    request.add_ids(*number);
  }
  LONGHAND_ASSIGN_OR_RETURN(const std::string text, intake_.Detokenize(request));
  return json::object{{"prompt", text}};
}

}  // namespace longhand::http
