// GatewayMetrics: the gateway's families under longhand_http_*. All exist from the start.
#pragma once

#include <map>
#include <string>

#include "common/metrics.h"
#include "coordinator/http/routes.h"

namespace longhand::http {

class GatewayMetrics {
 public:
  explicit GatewayMetrics(Metrics& metrics);

  // `route` may be null: no route was found, or the request could not be read. `status` 0: the
  // client left before it was answered.
  void CountRequest(const Route* route, int status);
  void SetConnections(int64_t num_open) { connections_.Set(static_cast<double>(num_open)); }

 private:
  struct Outcomes {
    Counter* ok;
    Counter* client_error;
    Counter* server_error;
    Counter* abandoned;
  };
  std::map<const Route*, Outcomes> requests_;
  Gauge& connections_;
};

}  // namespace longhand::http
