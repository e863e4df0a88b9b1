// AdapterHandler: /v1/load_lora_adapter and /v1/unload_lora_adapter, as vLLM has them. I/O thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>
#include <utility>

#include "common/status.h"
#include "coordinator/http/exchange.h"

namespace longhand::http {

class AdapterHandler {
 public:
  using Done = std::function<void(const Status&)>;
  struct Parts {
    // Neither waits; `done` is called once, from any thread.
    std::function<void(const std::string& name, const std::string& directory, Done done)> load;
    std::function<void(const std::string& name, Done done)> unload;
  };
  explicit AdapterHandler(Parts parts) : parts_(std::move(parts)) {}

  // Answered when requests may name the adapter.
  boost::asio::awaitable<void> Load(Exchange& exchange);
  // Answered when the last request that uses the adapter has ended.
  boost::asio::awaitable<void> Unload(Exchange& exchange);

 private:
  const Parts parts_;
};

}  // namespace longhand::http
