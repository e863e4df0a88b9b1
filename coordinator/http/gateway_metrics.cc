#include "coordinator/http/gateway_metrics.h"

namespace longhand::http {

GatewayMetrics::GatewayMetrics(Metrics& metrics)
    : connections_(metrics.GetGauge("longhand_http_connections")) {
  const auto add = [&](const Route* route, std::string_view name) {
    const auto counter = [&](const char* outcome) {
      return &metrics.GetCounter("longhand_http_requests_total",
                                 {{"route", std::string(name)}, {"outcome", outcome}});
    };
    requests_[route] = {counter("ok"), counter("client_error"), counter("server_error"),
                        counter("abandoned")};
  };
  for (const Route& route : Routes()) {
    const std::string path(route.path);
    add(&route, route.method == "DELETE" ? "DELETE " + path : path);
  }
  add(nullptr, "other");
}

void GatewayMetrics::CountRequest(const Route* route, int status) {
  const Outcomes& outcomes = requests_.at(route);
  Counter* counter = status == 0    ? outcomes.abandoned
                     : status < 400 ? outcomes.ok
                     : status < 500 ? outcomes.client_error
                                    : outcomes.server_error;
  counter->Increment();
}

}  // namespace longhand::http
