#include "coordinator/request_spans.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace longhand {
namespace {

using tracing::Attribute;
using tracing::Span;

int64_t Nanoseconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
}

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

Span ServerSpan(const Trace& trace, const std::string& model, int64_t now_ns) {
  return {.trace_id = trace.trace_id,
          .span_id = trace.span_id,
          .parent_span_id = trace.parent_span_id,
          .name = trace.operation + " " + model,
          .kind = Span::Kind::kServer,
          .begin_ns = trace.began_ns,
          .end_ns = now_ns,
          .attributes = {{"gen_ai.operation.name", trace.operation},
                         {"gen_ai.provider.name", std::string("longhand")},
                         {"gen_ai.request.model", model}}};
}

// A client that went away is no error of the server's.
void AddEnd(const std::string& finish, Span* span) {
  span->attributes.push_back({"error.type", finish});
  if (finish != "cancelled") span->error = finish;
}

void AddAnswer(const engine::RequestSummary& request, Span* span) {
  std::vector<Attribute>& attributes = span->attributes;
  attributes.insert(attributes.end(),
                    {{"gen_ai.response.id", request.request_id},
                     {"gen_ai.request.choice.count", request.num_choices},
                     {"gen_ai.request.max_tokens", request.max_tokens},
                     {"gen_ai.usage.input_tokens", request.num_prompt_tokens},
                     {"gen_ai.usage.cache_read.input_tokens", request.num_cached_tokens},
                     {"gen_ai.usage.output_tokens", request.num_tokens},
                     {"longhand.words", request.num_words},
                     {"longhand.resumed", request.is_resumed}});
  if (request.time_to_first_token.has_value())
    attributes.push_back(
        {"gen_ai.server.time_to_first_token", Seconds(*request.time_to_first_token)});
  if (request.time_per_output_token.has_value())
    attributes.push_back(
        {"gen_ai.server.time_per_output_token", Seconds(*request.time_per_output_token)});
  if (request.finish != "stop" && request.finish != "length") return AddEnd(request.finish, span);
  attributes.push_back({"gen_ai.response.finish_reasons", std::vector{request.finish}});
  attributes.push_back({"longhand.finish_detail", request.finish_detail});
}

}  // namespace

std::vector<Span> SpansOf(const engine::RequestSummary& request,
                          const std::string& served_model_name,
                          int64_t now_ns) {
  const std::string& model = request.adapter.empty() ? served_model_name : request.adapter;
  std::vector<Span> spans{ServerSpan(request.trace, model, now_ns)};
  AddAnswer(request, &spans.front());
  int64_t at_ns = request.trace.began_ns;
  const auto add = [&](const char* name, int64_t duration_ns) {
    spans.push_back({.trace_id = request.trace.trace_id,
                     .span_id = DrawSpanId(),
                     .parent_span_id = request.trace.span_id,
                     .name = name,
                     .begin_ns = at_ns,
                     .end_ns = at_ns + duration_ns});
    at_ns = spans.back().end_ns;
  };
  // Of one that began with another coordinator, or was never taken, nobody knows.
  if (!request.queue_time.has_value() || !request.prefill_time.has_value()) return spans;
  const int64_t submitted_ns = now_ns - Nanoseconds(request.duration);
  add("prepare", std::max<int64_t>(0, submitted_ns - at_ns));
  add("queue", Nanoseconds(*request.queue_time));
  add("prefill", Nanoseconds(*request.prefill_time));
  add("decode", Nanoseconds(request.decode_time.value_or(Duration::zero())));
  return spans;
}

Span SpanOf(const documents::DocumentSummary& document,
            const std::string& served_model_name,
            int64_t now_ns) {
  Span span = ServerSpan(document.trace,
                         document.model.empty() ? served_model_name : document.model, now_ns);
  span.attributes.insert(span.attributes.end(),
                         {{"gen_ai.response.id", document.request_id},
                          {"longhand.sections", static_cast<int64_t>(document.num_sections)},
                          {"longhand.words", document.num_words}});
  if (!document.status.ok()) AddEnd(engine::NameOf(document.status.code()), &span);
  return span;
}

}  // namespace longhand
