// Gateway: OpenAI's HTTP interface of the coordinator, beside gRPC's.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/metrics.h"
#include "common/status.h"
#include "coordinator/api/adapter_table.h"
#include "coordinator/api/api_keys.h"
#include "coordinator/api/document_desk.h"
#include "coordinator/api/input_pool.h"
#include "coordinator/api/request_intake.h"
#include "coordinator/cluster/readiness.h"
#include "coordinator/http/adapter_handler.h"
#include "coordinator/http/answer_handler.h"
#include "coordinator/http/cors.h"
#include "coordinator/http/gateway_metrics.h"
#include "coordinator/http/http_server.h"
#include "coordinator/http/image_fetcher.h"
#include "coordinator/http/token_handler.h"
#include "longhand/v1/cluster.pb.h"

namespace longhand::http {

struct GatewayConfig {
  std::string address;  // host:port; port 0 picks one
  std::string tls_cert;
  std::string tls_key;
  Limits limits;
  std::vector<std::string> allowed_origins;
  bool allow_image_urls = false;
  bool allow_runtime_lora_updating = false;
};

// Its own thread; what takes time runs on the input pool.
class Gateway {
 public:
  struct Parts {
    api::RequestIntake& intake;
    api::DocumentDesk& documents;
    api::InputPool& pool;
    const api::AdapterTable& adapters;
    const cluster::ReadinessSource& readiness;
    const api::ApiKeys& keys;
    Metrics& metrics;
    // Does not wait; what it is given is called once, from any thread.
    std::function<void(std::function<void(const v1::GetStatusResponse&)>)> get_status;
    AdapterHandler::Parts change_adapters;
    std::function<void()> on_refused = {};  // as HttpServerConfig
  };
  Gateway(GatewayConfig config, const Parts& parts);
  ~Gateway() { Stop(); }

  // The address with its real port; errors as HttpServer::Start. Once.
  Result<std::string> Start();
  // No new requests are taken by the engine: connections close after their answers.
  void Drain();
  // What is under way has a moment to be sent.
  void Stop();

 private:
  std::optional<Response> CheckHead(const Request& request);
  boost::asio::awaitable<void> Handle(Exchange& exchange);
  boost::asio::awaitable<void> Dispatch(Exchange& exchange, const RouteMatch& match);
  using ShowStatusAs = Response (*)(const v1::GetStatusResponse&);
  boost::asio::awaitable<void> ShowStatus(Exchange& exchange, ShowStatusAs show);
  Response Probe(bool only_startup);
  Response Models() const;
  Response Model(const std::string& name) const;

  const GatewayConfig config_;
  const Parts parts_;
  const Cors cors_;
  const int64_t created_;  // seconds since 1970
  GatewayMetrics metrics_;
  ImageFetcher fetcher_;
  std::unique_ptr<api::InputPool> fetch_pool_;  // null: pictures elsewhere are not fetched
  AnswerHandler answers_;
  TokenHandler tokens_;
  AdapterHandler change_adapters_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace longhand::http
