#include "coordinator/http/gateway.h"

#include <boost/beast/core/string.hpp>
#include <boost/json.hpp>
#include <ctime>
#include <utility>

#include "common/trim.h"
#include "common/version.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/openapi.h"
#include "coordinator/http/page_response.h"
#include "coordinator/http/status_page.h"
#include "coordinator/http/told.h"

namespace longhand::http {
namespace {

namespace json = boost::json;

constexpr int kFetchThreads = 4;
constexpr size_t kMaxWaitingFetches = 64;

json::object ModelJson(const api::RequestPreparer& preparer, int64_t created) {
  return {{"id", preparer.served_model_name()},
          {"object", "model"},
          {"created", created},
          {"owned_by", "longhand"},
          {"root", preparer.served_model_name()},
          {"parent", nullptr},
          {"max_model_len", preparer.max_model_len()}};
}

json::object AdapterJson(const api::RequestPreparer& preparer,
                         const engine::Adapter& adapter,
                         int64_t created) {
  json::object model = ModelJson(preparer, created);
  model["id"] = adapter.name;
  model["root"] = adapter.directory;
  model["parent"] = preparer.served_model_name();
  return model;
}

bool ChangesAdapters(RouteId id) {
  return id == RouteId::kLoadAdapter || id == RouteId::kUnloadAdapter;
}

bool IsJson(const Request& request) {
  const std::string* type = request.FindHeader("content-type");
  if (type == nullptr) return true;
  const std::string_view media_type = std::string_view(*type).substr(0, type->find(';'));
  return boost::beast::iequals(Trim(media_type, " \t"), "application/json");
}

bool IsCompressed(const Request& request) {
  const std::string* coding = request.FindHeader("content-encoding");
  return coding != nullptr && !coding->empty() && !boost::beast::iequals(*coding, "identity");
}

// What is wrong with the body, by what the head says of it.
std::optional<Response> RefuseBody(const Request& request) {
  if (!IsJson(request)) return ErrorResponse(415, "the Content-Type must be application/json");
  if (!IsCompressed(request)) return std::nullopt;
  Response refusal = ErrorResponse(
      415, "the body has a Content-Encoding, but no coding is undone here: send it uncompressed");
  refusal.headers.emplace_back("Accept-Encoding", "identity");
  return refusal;
}

}  // namespace

Gateway::Gateway(GatewayConfig config, const Parts& parts)
    : config_(std::move(config)),
      parts_(parts),
      cors_(config_.allowed_origins),
      created_(std::time(nullptr)),
      metrics_(parts.metrics),
      fetcher_({.max_bytes = config_.limits.max_body_bytes}),
      fetch_pool_(config_.allow_image_urls
                      ? std::make_unique<api::InputPool>(kFetchThreads, kMaxWaitingFetches)
                      : nullptr),
      answers_({.intake = parts.intake,
                .documents = parts.documents,
                .pool = parts.pool,
                .keys = parts.keys,
                .fetch_pool = fetch_pool_.get(),
                .fetcher = config_.allow_image_urls ? &fetcher_ : nullptr}),
      tokens_(parts.intake, parts.pool),
      change_adapters_(parts.change_adapters) {}

Result<std::string> Gateway::Start() {
  HttpServerConfig server{.address = config_.address,
                          .tls_cert = config_.tls_cert,
                          .tls_key = config_.tls_key,
                          .on_connections = [this](int64_t n) { metrics_.SetConnections(n); }};
  server.host.limits = config_.limits;
  server.host.handle = [this](Exchange& exchange) { return Handle(exchange); };
  server.host.check_head = [this](const Request& request) { return CheckHead(request); };
  server.host.decorate = [this](const Request& request, Response& response) {
    for (Header& header : cors_.HeadersFor(request)) response.headers.push_back(std::move(header));
  };
  server.host.refuse = [this](const ParseError& error) {
    metrics_.CountRequest(nullptr, error.status);
    return ErrorResponse(error.status, error.message);
  };
  server.host.fail = [this](const Status& status) {
    metrics_.CountRequest(nullptr, HttpStatusOf(status.code()));
    return ErrorResponse(status);
  };
  server.host.reserve = [this](int64_t bytes) { return parts_.intake.Reserve(bytes); };
  server.host.release = [this](int64_t bytes) { parts_.intake.Release(bytes); };
  server.on_refused = parts_.on_refused;
  LONGHAND_ASSIGN_OR_RETURN(server_, HttpServer::Start(std::move(server)));
  return server_->address();
}

void Gateway::Drain() {
  if (server_) server_->Drain();
}

void Gateway::Stop() {
  fetcher_.Cancel();
  if (server_) server_->Stop();
}

// Before the body is read: whoever may not ask does not send one.
std::optional<Response> Gateway::CheckHead(const Request& request) {
  const RouteMatch match = MatchRoute(request.method, request.path);
  std::optional<Response> refusal;
  if (match.allowed.empty() && request.path != "*") {
    refusal = ErrorResponse(404, "there is nothing at " + request.path);
  } else if (auto preflight = Cors::AnswerPreflight(request, match.allowed)) {
    refusal = std::move(*preflight);
  } else if (match.route == nullptr) {
    refusal =
        ErrorResponse(405, request.method + " is not allowed here; " + match.allowed + " are");
    refusal->headers.emplace_back("Allow", match.allowed);
  } else if (!match.route->is_open) {
    const Result<std::string> name = NameCaller(parts_.keys, request);
    if (!name.ok()) refusal = ErrorResponse(name.status());
  }
  if (!refusal && !config_.allow_runtime_lora_updating && ChangesAdapters(match.route->id)) {
    refusal = ErrorResponse(
        403, "adapters are loaded and unloaded by HTTP only with --allow-runtime-lora-updating");
  }
  if (!refusal && match.route->method == "POST") refusal = RefuseBody(request);
  if (refusal) metrics_.CountRequest(match.route, refusal->status);
  return refusal;
}

boost::asio::awaitable<void> Gateway::Handle(Exchange& exchange) {
  const RouteMatch match = MatchRoute(exchange.request().method, exchange.request().path);
  co_await Dispatch(exchange, match);
  metrics_.CountRequest(match.route, exchange.status());
}

boost::asio::awaitable<void> Gateway::Dispatch(Exchange& exchange, const RouteMatch& match) {
  switch (match.route->id) {
    case RouteId::kPage:
      return exchange.Reply(PageResponse(exchange.request(), "index.html"));
    case RouteId::kPagePart:
      return exchange.Reply(PageResponse(exchange.request(), match.parameter));
    case RouteId::kStatusPage:
      return ShowStatus(exchange, StatusPage);
    case RouteId::kStatus:
      return ShowStatus(exchange, StatusJson);
    case RouteId::kLive:
      return exchange.Reply({.body = R"({"status":"ok"})"});
    case RouteId::kReady:
    case RouteId::kHealth:
      return exchange.Reply(Probe(/*only_startup=*/false));
    case RouteId::kStartup:
      return exchange.Reply(Probe(/*only_startup=*/true));
    case RouteId::kVersion:
      return exchange.Reply({.body = json::serialize(json::object{{"version", kVersion}})});
    case RouteId::kOpenApi:
      return exchange.Reply({.body = std::string(kOpenApi)});
    case RouteId::kModels:
      return exchange.Reply(Models());
    case RouteId::kModel:
      return exchange.Reply(Model(match.parameter));
    case RouteId::kChat:
      return answers_.Chat(exchange);
    case RouteId::kCompletion:
      return answers_.Complete(exchange);
    case RouteId::kDocument:
      return answers_.Document(exchange);
    case RouteId::kStream:
      return answers_.Attach(exchange, match.parameter);
    case RouteId::kCancel:
      return answers_.Cancel(exchange, match.parameter);
    case RouteId::kTokenize:
      return tokens_.Tokenize(exchange);
    case RouteId::kDetokenize:
      return tokens_.Detokenize(exchange);
    case RouteId::kLoadAdapter:
      return change_adapters_.Load(exchange);
    case RouteId::kUnloadAdapter:
      return change_adapters_.Unload(exchange);
  }
  return exchange.Reply(ErrorResponse(404, "there is nothing here"));
}

// Once tokens could be made, start-up is over whatever comes.
Response Gateway::Probe(bool only_startup) {
  const cluster::Readiness now = parts_.readiness.Check();
  const bool ok = now.ready || (only_startup && now.was_ready);
  json::object body = {{"status", ok ? "ok" : "unavailable"},
                       {"phase", now.phase},
                       {"percent", static_cast<int64_t>(now.percent)}};
  if (!now.detail.empty()) body["detail"] = now.detail;
  return {.status = ok ? 200 : 503, .body = json::serialize(body)};
}

Response Gateway::Models() const {
  json::array models = {ModelJson(parts_.intake.preparer(), created_)};
  for (const api::AdapterTable::Held& adapter : parts_.adapters.List())
    models.push_back(AdapterJson(parts_.intake.preparer(), *adapter, created_));
  return {.body = json::serialize(json::object{{"object", "list"}, {"data", models}})};
}

Response Gateway::Model(const std::string& name) const {
  const api::RequestPreparer& preparer = parts_.intake.preparer();
  if (const Status status = preparer.CheckModel(name); !status.ok())
    return ErrorResponse(status.About("model"));
  const Result<api::AdapterTable::Held> adapter = parts_.adapters.Find(name);
  return {.body = json::serialize(adapter.ok() ? AdapterJson(preparer, **adapter, created_)
                                               : ModelJson(preparer, created_))};
}

boost::asio::awaitable<void> Gateway::ShowStatus(Exchange& exchange, ShowStatusAs show) {
  const auto status = co_await WhenTold<v1::GetStatusResponse>(exchange, parts_.get_status);
  if (status) co_await exchange.Reply(show(*status));
}

}  // namespace longhand::http
