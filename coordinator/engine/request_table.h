// RequestTable: the requests that are not over, by id and by when they expire. Engine thread (owned
// by Engine).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "coordinator/engine/answer.h"
#include "coordinator/engine/request.h"
#include "coordinator/engine/sequence.h"
#include "coordinator/engine/token_sink.h"

namespace longhand::engine {

// One of a request's n answers.
struct Choice {
  explicit Choice(Answer answer) : answer(std::move(answer)) {}

  // `event` is its last.
  void EndWith(const TokenEvent& event) {
    is_over = true;
    finish_reason = *event.finish_reason;
    finish_detail = event.finish_detail;
  }

  Answer answer;
  Sequence* sequence = nullptr;  // the scheduler's; null once the answer is over or the group lost
  bool is_over = false;
  int64_t num_words_counted = 0;  // by the metrics
  int64_t num_loops_counted = 0;  // the same
  // Of the last event, once it is over.
  FinishReason finish_reason = FinishReason::kStop;
  std::string finish_detail;
  // While the group is lost: what goes on from here, and its place among the others.
  std::vector<int32_t> output_token_ids;
  Standing standing;
  int64_t num_lost_tokens = 0;  // that were in KV
  TimePoint last_token_at{};
};

struct ActiveRequest {
  int64_t arrival = 0;  // rises from request to request
  std::shared_ptr<const Request> request;
  std::unique_ptr<TokenSink> sink;
  std::vector<Choice> choices;
  int64_t num_open_choices = 0;
  bool is_resumed = false;     // an earlier group had it
  bool is_restored = false;    // an earlier coordinator had it, and no group has taken it up yet
  bool began_earlier = false;  // its first tokens were another coordinator's
  int32_t num_losses = 0;      // groups lost while they ran it, since its latest token
  Status dead_end;             // why the form of an answer can be followed no further
  int64_t num_prompt_logprobs = 0;  // that were told
  std::vector<TokenEvent> events;   // of this turn, not yet delivered
  int64_t last_event_seq = 0;
  int64_t num_cached_tokens = 0;  // of the prompt, when its first answer began
  bool is_admitted = false;       // one of its answers ran
  TimePoint expires_at = TimePoint::max();
  TimePoint submitted_at{};
  std::optional<TimePoint> admitted_at;
  std::optional<TimePoint> first_token_at;
};

class RequestTable {
 public:
  bool Contains(const std::string& request_id) const { return by_id_.contains(request_id); }
  // Null when no such request is there.
  ActiveRequest* Find(const std::string& request_id);
  ActiveRequest& Add(std::unique_ptr<ActiveRequest> active);
  std::unique_ptr<ActiveRequest> Take(ActiveRequest& active);
  // One that expires not after `now`, or null.
  ActiveRequest* FindExpired(TimePoint now) const;
  void SetExpiry(ActiveRequest& active, TimePoint expires_at);
  // Oldest first.
  std::vector<ActiveRequest*> All() const;
  TimePoint next_expiry() const {
    return expiries_.empty() ? TimePoint::max() : expiries_.begin()->first.first;
  }
  bool empty() const { return requests_.empty(); }

 private:
  std::map<int64_t, std::unique_ptr<ActiveRequest>> requests_;  // by arrival
  std::unordered_map<std::string, ActiveRequest*> by_id_;
  // Of those that can expire. Ties go by arrival, so that a simulated run can be replayed.
  std::map<std::pair<TimePoint, int64_t>, ActiveRequest*> expiries_;
};

}  // namespace longhand::engine
