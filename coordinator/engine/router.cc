#include "coordinator/engine/router.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/split_mix.h"

namespace longhand::engine {
namespace {

// The beginning by which prompts are known: past most system prompts, some KV blocks long.
constexpr size_t kHomeTokens = 64;

uint64_t Join(uint64_t hash, uint64_t more) {
  uint64_t state = hash ^ more;
  return SplitMix64(state);
}

uint64_t Join(uint64_t hash, const std::string& text) {
  return Join(hash, std::hash<std::string>()(text));
}

int64_t NumTokens(const Request& request) {
  return request.num_prompt_tokens() + request.num_choices * request.max_tokens;
}

}  // namespace

uint64_t HomeKey(const Request& request) {
  uint64_t key = Join(Join(uint64_t{1}, request.tenant), request.cache_salt);
  if (request.adapter != nullptr) key = Join(key, request.adapter->name);
  const size_t num_tokens = std::min(request.token_ids.size(), kHomeTokens);
  for (size_t i = 0; i < num_tokens; ++i)
    key = Join(key, static_cast<uint64_t>(request.token_ids[i]));
  for (const ImageInput& image : request.images) {
    if (static_cast<size_t>(image.offset) >= num_tokens) break;
    for (const uint8_t byte : image.hash) key = Join(key, byte);
  }
  return key;
}

// Rendezvous hashing: without a group, its prompts have other homes, and nobody else's change.
size_t ChooseGroup(std::span<const GroupLoad> groups, uint64_t home, int64_t num_prompt_tokens) {
  LONGHAND_CHECK(!groups.empty());
  const bool any_up =
      std::any_of(groups.begin(), groups.end(), [](const auto& g) { return g.is_up; });
  std::optional<size_t> least, preferred;
  uint64_t best = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (any_up && !groups[g].is_up) continue;
    const uint64_t rank = Join(home, g);
    if (!least || groups[g].num_tokens < groups[*least].num_tokens) least = g;
    if (!preferred || rank > best) {
      preferred = g;
      best = rank;
    }
  }
  const int64_t more = groups[*preferred].num_tokens - groups[*least].num_tokens;
  return more <= num_prompt_tokens ? *preferred : *least;
}

// One group's engine, and its neighbours' view from there.
class Router::Place final : public Neighbours {
 public:
  Place(Router& router, Engine& engine) : engine(engine), router_(router) {}

  bool HaveGroup() const override {
    return std::any_of(router_.places_.begin(), router_.places_.end(), [this](const auto& each) {
      return each.get() != this && each->engine.has_group();
    });
  }
  bool TakeNew(const std::shared_ptr<const Request>& request,
               std::unique_ptr<TokenSink>* sink) override;
  bool TakeOver(std::unique_ptr<ActiveRequest>* active) override;

  Engine& engine;
  std::atomic<int64_t> num_tokens = 0;  // promised and still to be made

 private:
  Router& router_;
};

// What a request's own sink is told, on its way there; counts what is still to be made.
class Router::Sink final : public TokenSink {
 public:
  Sink(Router& router,
       std::string request_id,
       int64_t num_tokens,
       Place& place,
       std::unique_ptr<TokenSink> sink)
      : request_id(std::move(request_id)),
        router_(router),
        sink_(std::move(sink)),
        place_(&place),
        num_tokens_(num_tokens) {
    place.num_tokens += num_tokens;
  }
  ~Sink() override {
    router_.Forget(*this);
    place_->num_tokens -= num_tokens_;
  }

  void OnAccepted() override { sink_->OnAccepted(); }
  void OnEvent(TokenEvent event) override {
    const auto made = std::min(num_tokens_, static_cast<int64_t>(event.token_ids.size()));
    num_tokens_ -= made;
    place_->num_tokens -= made;
    sink_->OnEvent(std::move(event));
  }
  void OnEnd(const Status& status) override { sink_->OnEnd(status); }

  // With the router's mutex held.
  const Place& place() const { return *place_; }
  Engine& engine() const { return place_->engine; }
  // The same, on the thread of the engine that has the request.
  void MoveTo(Place& place) {
    place_->num_tokens -= num_tokens_;
    place.num_tokens += num_tokens_;
    place_ = &place;
  }

  const std::string request_id;

 private:
  Router& router_;
  const std::unique_ptr<TokenSink> sink_;
  Place* place_;
  int64_t num_tokens_;  // promised and still to be made
};

Router::Router() = default;
Router::~Router() = default;

void Router::Join(Engine& engine) {
  places_.push_back(std::make_unique<Place>(*this, engine));
  engine.SetNeighbours(*places_.back());
}

Router::Place& Router::ChoosePlace(const Request& request, const Place* except) const {
  std::vector<GroupLoad> loads;
  for (const auto& place : places_)
    loads.push_back({place->engine.has_group() && place.get() != except, place->num_tokens});
  return *places_[ChooseGroup(loads, HomeKey(request), request.num_prompt_tokens())];
}

std::unique_ptr<TokenSink> Router::MakeSink(const Request& request,
                                            int64_t num_tokens,
                                            Place& place,
                                            std::unique_ptr<TokenSink> sink) {
  auto made = std::make_unique<Sink>(*this, request.request_id, num_tokens, place, std::move(sink));
  std::lock_guard lock(mutex_);
  sinks_[request.request_id] = made.get();
  return made;
}

// A request of the same id may have come meanwhile, when clients were told that this one is over.
void Router::Forget(const Sink& sink) {
  std::lock_guard lock(mutex_);
  const auto found = sinks_.find(sink.request_id);
  if (found != sinks_.end() && found->second == &sink) sinks_.erase(found);
}

Status Router::Submit(Request request, std::unique_ptr<TokenSink> sink) {
  const auto shared = std::make_shared<const Request>(std::move(request));
  Place& place = ChoosePlace(*shared, /*except=*/nullptr);
  return place.engine.Submit(shared, MakeSink(*shared, NumTokens(*shared), place, std::move(sink)));
}

Status Router::Restore(Request request, Delivered delivered, std::unique_ptr<TokenSink> sink) {
  const auto shared = std::make_shared<const Request>(std::move(request));
  int64_t num_tokens = NumTokens(*shared);
  for (const auto& token_ids : delivered.token_ids)
    num_tokens -= static_cast<int64_t>(token_ids.size());
  Place& place = ChoosePlace(*shared, /*except=*/nullptr);
  return place.engine.Restore(
      shared, std::move(delivered),
      MakeSink(*shared, std::max<int64_t>(0, num_tokens), place, std::move(sink)));
}

bool Router::Place::TakeNew(const std::shared_ptr<const Request>& request,
                            std::unique_ptr<TokenSink>* sink) {
  return router_.Move(*request, *this, sink->get(),
                      [&](Engine& engine) { return engine.TakeNew(request, sink); });
}

bool Router::Place::TakeOver(std::unique_ptr<ActiveRequest>* active) {
  const std::shared_ptr<const Request> request = (*active)->request;
  return router_.Move(*request, *this, (*active)->sink.get(),
                      [&](Engine& engine) { return engine.TakeOver(active); });
}

// Under the mutex, so that a cancellation comes to either engine in order.
bool Router::Move(const Request& request,
                  Place& from,
                  const TokenSink* sink,
                  const std::function<bool(Engine&)>& give) {
  std::lock_guard lock(mutex_);
  Place& to = ChoosePlace(request, /*except=*/&from);
  const auto found = sinks_.find(request.request_id);
  if (!to.engine.has_group() || found == sinks_.end() || found->second != sink) return false;
  found->second->MoveTo(to);
  if (give(to.engine)) return true;
  found->second->MoveTo(from);
  return false;
}

Status Router::Cancel(const std::string& request_id, std::function<void(const Status&)> done) {
  return CancelAt(request_id, std::nullopt, std::move(done), /*tried=*/nullptr);
}

Status Router::CancelCall(const std::string& request_id, int64_t call) {
  return CancelAt(request_id, call, [](const Status&) {}, /*tried=*/nullptr);
}

Status Router::CancelAt(const std::string& request_id,
                        std::optional<int64_t> call,
                        std::function<void(const Status&)> done,
                        const Place* tried) {
  {
    std::lock_guard lock(mutex_);
    const auto found = sinks_.find(request_id);
    if (found != sinks_.end() && &found->second->place() != tried) {
      const Place& place = found->second->place();
      // It may move on while the word is on its way, which follows it then.
      auto after = [this, request_id, call, done, &place](const Status& status) {
        if (status.code() != StatusCode::kNotFound) return done(status);
        const Status again = CancelAt(request_id, call, done, &place);
        if (!again.ok()) done(again);
      };
      return call.has_value() ? place.engine.CancelCall(request_id, *call, std::move(after))
                              : place.engine.Cancel(request_id, std::move(after));
    }
  }
  done(NotFound("no request '", request_id, "' is running"));
  return OkStatus();
}

void Router::Drain(std::function<void()> done) {
  struct Wait {
    std::function<void()> done;
    std::atomic<size_t> num_left;
    std::atomic<bool> is_stopped = false;
  };
  const auto wait = std::make_shared<Wait>();  // shared by the engines
  wait->done = std::move(done);
  wait->num_left = places_.size();
  const auto one_is_idle = [this, wait] {
    if (--wait->num_left > 0) return;
    // What was on its way from one to another when they were asked is with the other now.
    if (wait->is_stopped || empty()) return wait->done();
    Drain(wait->done);
  };
  for (const auto& place : places_) {
    if (place->engine.Drain(one_is_idle).ok()) continue;
    wait->is_stopped = true;
    one_is_idle();
  }
}

void Router::GetStats(std::function<void(const std::vector<EngineStats>&)> done) {
  struct Answers {
    std::function<void(const std::vector<EngineStats>&)> done;
    std::vector<EngineStats> stats;  // each written by its engine's thread
    std::atomic<size_t> num_left;
  };
  const auto answers = std::make_shared<Answers>();  // shared by the engines
  answers->done = std::move(done);
  answers->stats.resize(places_.size());
  answers->num_left = places_.size();
  for (size_t g = 0; g < places_.size(); ++g) {
    const auto take = [answers, g](const EngineStats& stats) {
      answers->stats[g] = stats;
      if (--answers->num_left == 0) answers->done(answers->stats);
    };
    if (!places_[g]->engine.GetStats(take).ok()) take({});
  }
}

void Router::Stop() {
  for (const auto& place : places_) place->engine.Stop();
}

bool Router::empty() const {
  std::lock_guard lock(mutex_);
  return sinks_.empty();
}

}  // namespace longhand::engine
