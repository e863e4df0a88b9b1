#include "coordinator/engine/request_summary.h"

#include <algorithm>

namespace longhand::engine {
namespace {

RequestSummary SummaryOf(const Request& request) {
  return {.request_id = request.request_id,
          .trace = request.trace,
          .adapter = request.adapter != nullptr ? request.adapter->name : "",
          .num_prompt_tokens = request.num_prompt_tokens(),
          .num_choices = request.num_choices,
          .max_tokens = request.max_tokens};
}

void AddFinish(const ActiveRequest& active, const Status& status, RequestSummary* summary) {
  if (!status.ok()) {
    summary->finish = NameOf(status.code());
    return;
  }
  const Choice* longest = &active.choices.front();
  for (const Choice& choice : active.choices) {
    if (choice.finish_reason == FinishReason::kLength) longest = &choice;
  }
  summary->finish = longest->finish_reason == FinishReason::kLength ? "length" : "stop";
  summary->finish_detail = longest->finish_detail;
}

void AddTimes(const ActiveRequest& active, RequestSummary* summary) {
  if (active.admitted_at.has_value())
    summary->queue_time = *active.admitted_at - active.submitted_at;
  if (!active.first_token_at.has_value() || active.began_earlier) return;
  const TimePoint first = *active.first_token_at;
  TimePoint last = first;
  for (const Choice& choice : active.choices) last = std::max(last, choice.last_token_at);
  summary->time_to_first_token = first - active.submitted_at;
  if (active.admitted_at.has_value()) summary->prefill_time = first - *active.admitted_at;
  summary->decode_time = last - first;
  const int64_t num_further = summary->num_tokens - summary->num_choices;
  // Choices are written side by side.
  if (num_further > 0)
    summary->time_per_output_token = (last - first) * summary->num_choices / num_further;
}

}  // namespace

std::string NameOf(StatusCode code) {
  std::string name(StatusCodeName(code));
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return name;
}

RequestSummary Summarise(const ActiveRequest& active, const Status& status, TimePoint now) {
  RequestSummary summary = SummaryOf(*active.request);
  summary.num_cached_tokens = active.num_cached_tokens;
  summary.is_resumed = active.is_resumed;
  summary.duration = now - active.submitted_at;
  for (const Choice& choice : active.choices) {
    summary.num_tokens += choice.answer.num_tokens();
    summary.num_words += choice.answer.num_words();
  }
  AddFinish(active, status, &summary);
  AddTimes(active, &summary);
  return summary;
}

RequestSummary SummariseRefused(const Request& request, const Status& status) {
  RequestSummary summary = SummaryOf(request);
  summary.finish = NameOf(status.code());
  return summary;
}

}  // namespace longhand::engine
