// The routes: one table of what is served, which the OpenAPI document is checked against.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace longhand::http {

enum class RouteId {
  kPage,
  kPagePart,
  kStatusPage,
  kStatus,
  kLive,
  kReady,
  kStartup,
  kHealth,
  kVersion,
  kOpenApi,
  kModels,
  kModel,
  kChat,
  kCompletion,
  kDocument,
  kStream,
  kCancel,
  kTokenize,
  kDetokenize,
  kLoadAdapter,
  kUnloadAdapter,
};

struct Route {
  RouteId id;
  std::string_view method;  // GET, which HEAD may stand for, POST or DELETE
  std::string_view path;    // "/v1/models/{model}": the rest of the path is the parameter
  bool is_open;             // needs no key: probes and what they are found by
};

std::span<const Route> Routes();

struct RouteMatch {
  const Route* route = nullptr;  // of this path and method
  std::string parameter;
  std::string allowed;  // methods that the path has, as in the header Allow; empty: no such path
};
RouteMatch MatchRoute(std::string_view method, std::string_view path);

}  // namespace longhand::http
