#include "coordinator/http/routes.h"

namespace longhand::http {
namespace {

constexpr Route kRoutes[] = {
    {RouteId::kPage, "GET", "/", true},
    {RouteId::kPagePart, "GET", "/page/{part}", true},
    {RouteId::kStatusPage, "GET", "/status", true},
    {RouteId::kStatus, "GET", "/status.json", true},
    {RouteId::kLive, "GET", "/livez", true},
    {RouteId::kReady, "GET", "/readyz", true},
    {RouteId::kStartup, "GET", "/startupz", true},
    {RouteId::kHealth, "GET", "/health", true},
    {RouteId::kVersion, "GET", "/version", true},
    {RouteId::kOpenApi, "GET", "/openapi.json", true},
    {RouteId::kModels, "GET", "/v1/models", false},
    {RouteId::kModel, "GET", "/v1/models/{model}", false},
    {RouteId::kChat, "POST", "/v1/chat/completions", false},
    {RouteId::kCompletion, "POST", "/v1/completions", false},
    {RouteId::kDocument, "POST", "/v1/documents", false},
    {RouteId::kStream, "GET", "/v1/streams/{id}", false},
    {RouteId::kCancel, "DELETE", "/v1/streams/{id}", false},
    {RouteId::kTokenize, "POST", "/tokenize", false},
    {RouteId::kDetokenize, "POST", "/detokenize", false},
    {RouteId::kLoadAdapter, "POST", "/v1/load_lora_adapter", false},
    {RouteId::kUnloadAdapter, "POST", "/v1/unload_lora_adapter", false},
};

// The parameter when the path is one of the pattern's; empty for a pattern without one.
std::optional<std::string> Match(std::string_view pattern, std::string_view path) {
  const size_t brace = pattern.find('{');
  if (brace == std::string_view::npos)
    return path == pattern ? std::optional<std::string>("") : std::nullopt;
  if (path.size() <= brace || path.substr(0, brace) != pattern.substr(0, brace))
    return std::nullopt;
  return std::string(path.substr(brace));
}

}  // namespace

std::span<const Route> Routes() { return kRoutes; }

RouteMatch MatchRoute(std::string_view method, std::string_view path) {
  RouteMatch match;
  for (const Route& route : kRoutes) {
    std::optional<std::string> parameter = Match(route.path, path);
    if (!parameter) continue;
    if (!match.allowed.empty()) match.allowed += ", ";
    match.allowed += route.method == "GET" ? "GET, HEAD" : route.method;
    if (method != route.method && !(method == "HEAD" && route.method == "GET")) continue;
    match.route = &route;
    match.parameter = std::move(*parameter);
  }
  if (!match.allowed.empty()) match.allowed += ", OPTIONS";
  return match;
}

}  // namespace longhand::http
