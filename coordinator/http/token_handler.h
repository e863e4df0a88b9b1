// TokenHandler: /tokenize and /detokenize, as vLLM has them. I/O thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json.hpp>
#include <functional>

#include "coordinator/api/input_pool.h"
#include "coordinator/api/request_intake.h"
#include "coordinator/http/exchange.h"
#include "coordinator/http/request_fields.h"

namespace longhand::http {

class TokenHandler {
 public:
  TokenHandler(api::RequestIntake& intake, api::InputPool& pool) : intake_(intake), pool_(pool) {}

  boost::asio::awaitable<void> Tokenize(Exchange& exchange);
  boost::asio::awaitable<void> Detokenize(Exchange& exchange);

 private:
  using Work = std::function<Result<boost::json::object>(RequestFields&)>;

  boost::asio::awaitable<void> Run(Exchange& exchange, Work work);
  Result<boost::json::object> TokenizeFields(RequestFields& fields) const;
  Result<boost::json::object> DetokenizeFields(RequestFields& fields) const;

  api::RequestIntake& intake_;
  api::InputPool& pool_;
};

}  // namespace longhand::http
