// Router: the engines of all worker groups as one. It chooses the group of each request, knows
// where each is, and lets it go on elsewhere when its group is lost for long.
//
// A request goes to the group with the least work promised: tokens of prompts and answers that are
// still to be made. Prompts that begin alike have one group, their home, which has their KV blocks
// if any has; it is taken unless it has more work than the least by more than the whole prompt.
// Groups that are down are passed over, unless all are.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/status.h"
#include "coordinator/engine/delivered.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/engine_stats.h"
#include "coordinator/engine/neighbours.h"
#include "coordinator/engine/request.h"
#include "coordinator/engine/token_sink.h"

namespace longhand::engine {

// What a choice among groups is made of.
struct GroupLoad {
  bool is_up = false;
  int64_t num_tokens = 0;  // promised and still to be made
};

// The group of a request. `home` is HomeKey of it; at least one group.
size_t ChooseGroup(std::span<const GroupLoad> groups, uint64_t home, int64_t num_prompt_tokens);
// Equal for prompts that begin alike and may share KV blocks.
uint64_t HomeKey(const Request& request);

// Any thread. Callbacks come on an engine's thread, or at once; errors are those of Engine. It
// outlives the engines, whose requests know it.
class Router {
 public:
  Router();
  ~Router();

  // One engine for each group, in their order; all before the first request. From then on requests
  // come by the router alone.
  void Join(Engine& engine);

  Status Submit(Request request, std::unique_ptr<TokenSink> sink);
  Status Restore(Request request, Delivered delivered, std::unique_ptr<TokenSink> sink);
  Status Cancel(const std::string& request_id, std::function<void(const Status&)> done);
  Status CancelCall(const std::string& request_id, int64_t call);
  // `done` comes when no request is left anywhere.
  void Drain(std::function<void()> done);
  // `done` gets those of each engine; of one that cannot be asked, none.
  void GetStats(std::function<void(const std::vector<EngineStats>&)> done);
  void Stop();

 private:
  class Place;
  class Sink;

  Place& ChoosePlace(const Request& request, const Place* except) const;
  std::unique_ptr<TokenSink> MakeSink(const Request& request,
                                      int64_t num_tokens,
                                      Place& place,
                                      std::unique_ptr<TokenSink> sink);
  void Forget(const Sink& sink);
  bool Move(const Request& request,
            Place& from,
            const TokenSink* sink,
            const std::function<bool(Engine&)>& give);
  Status CancelAt(const std::string& request_id,
                  std::optional<int64_t> call,
                  std::function<void(const Status&)> done,
                  const Place* tried);
  bool empty() const;

  std::vector<std::unique_ptr<Place>> places_;  // by group
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Sink*> sinks_;  // of requests that are not over, by id
};

}  // namespace longhand::engine
