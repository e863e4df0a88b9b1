#include "coordinator/request_log.h"

#include <chrono>

namespace longhand {
namespace {

double Milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

void AddIf(const std::optional<Duration>& duration, const char* name, LogFields* fields) {
  if (duration.has_value()) fields->push_back({name, Milliseconds(*duration)});
}

}  // namespace

void LogRequest(const Log& log, const engine::RequestSummary& request) {
  LogFields fields = {{"request_id", request.request_id}, {"finish", request.finish}};
  if (request.trace.is_traced()) fields.push_back({"trace_id", request.trace.trace_id});
  if (!request.finish_detail.empty()) fields.push_back({"finish_detail", request.finish_detail});
  fields.insert(fields.end(), {{"choices", request.num_choices},
                               {"prompt_tokens", request.num_prompt_tokens},
                               {"cached_tokens", request.num_cached_tokens},
                               {"tokens", request.num_tokens},
                               {"words", request.num_words},
                               {"duration_ms", Milliseconds(request.duration)}});
  AddIf(request.queue_time, "queue_ms", &fields);
  AddIf(request.time_to_first_token, "ttft_ms", &fields);
  AddIf(request.time_per_output_token, "tpot_ms", &fields);
  if (request.is_resumed) fields.push_back({"resumed", true});
  log.Event("request ended", fields);
}

void LogDocument(const Log& log, const documents::DocumentSummary& document) {
  log.Event("document ended", {{"request_id", document.request_id},
                               {"status", std::string(StatusCodeName(document.status.code()))},
                               {"sections", static_cast<int64_t>(document.num_sections)},
                               {"words", document.num_words}});
}

}  // namespace longhand
