#include "coordinator/http/adapter_handler.h"

#include <boost/json.hpp>
#include <optional>
#include <utility>

#include "coordinator/http/error_response.h"
#include "coordinator/http/json_body.h"
#include "coordinator/http/request_fields.h"
#include "coordinator/http/told.h"

namespace longhand::http {
namespace {

namespace json = boost::json;

// A name and a path; more is refused before it is parsed, on this thread.
constexpr size_t kMaxBodyBytes = 16 << 10;

struct Wish {
  std::string name;
  std::string directory;
};

std::string Required(RequestFields& fields, std::string_view name) {
  const std::optional<std::string> value = fields.String(name);
  if (!value || value->empty()) fields.Fail(name, "it must be a string that is not empty");
  return value.value_or("");
}

// What the body asks for, or the answer that refuses it.
std::optional<Response> Parse(const std::string& body, bool has_directory, Wish* wish) {
  if (body.size() > kMaxBodyBytes) {
    return ErrorResponse(InvalidArgument("the body has ", body.size(), " bytes; at most ",
                                         kMaxBodyBytes, " are read here"));
  }
  const Result<json::object> value = ParseJsonBody(body);
  if (!value.ok()) return ErrorResponse(value.status());
  RequestFields fields(*value);
  wish->name = Required(fields, "lora_name");
  if (has_directory) {
    wish->directory = Required(fields, "lora_path");
    fields.Refuse("load_inplace", "unload the adapter first");
  }
  if (!fields.status().ok()) return ErrorResponse(fields.status());
  return std::nullopt;
}

// Answers with what `begin` comes to.
boost::asio::awaitable<void> AnswerWhenDone(Exchange& exchange,
                                            const std::function<void(AdapterHandler::Done)>& begin,
                                            std::string success) {
  const std::optional<Status> status = co_await WhenTold<Status>(exchange, begin);
  if (!status) co_return;
  Response reply = status->ok() ? Response{.content_type = "text/plain; charset=utf-8",
                                           .body = std::move(success)}
                                : ErrorResponse(*status);
  co_await exchange.Reply(std::move(reply));
}

}  // namespace

boost::asio::awaitable<void> AdapterHandler::Load(Exchange& exchange) {
  Wish wish;
  std::optional<Response> refusal = Parse(exchange.request().body, /*has_directory=*/true, &wish);
  if (refusal) {
    co_await exchange.Reply(std::move(*refusal));
    co_return;
  }
  const std::function<void(Done)> begin = [&](Done done) {
    parts_.load(wish.name, wish.directory, std::move(done));
  };
  std::string success = "Success: LoRA adapter '" + wish.name + "' added successfully.";
  co_await AnswerWhenDone(exchange, begin, std::move(success));
}

boost::asio::awaitable<void> AdapterHandler::Unload(Exchange& exchange) {
  Wish wish;
  std::optional<Response> refusal = Parse(exchange.request().body, /*has_directory=*/false, &wish);
  if (refusal) {
    co_await exchange.Reply(std::move(*refusal));
    co_return;
  }
  const std::function<void(Done)> begin = [&](Done done) {
    parts_.unload(wish.name, std::move(done));
  };
  std::string success = "Success: LoRA adapter '" + wish.name + "' removed successfully.";
  co_await AnswerWhenDone(exchange, begin, std::move(success));
}

}  // namespace longhand::http
