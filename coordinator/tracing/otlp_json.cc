#include <boost/json.hpp>

#include "common/version.h"
#include "coordinator/tracing/span.h"

namespace longhand::tracing {
namespace {

namespace json = boost::json;

struct ValueWriter {
  json::object operator()(bool value) const { return {{"boolValue", value}}; }
  // 64 bits are strings in the JSON form of protocol buffers.
  json::object operator()(int64_t value) const { return {{"intValue", std::to_string(value)}}; }
  json::object operator()(double value) const { return {{"doubleValue", value}}; }
  json::object operator()(const std::string& value) const { return {{"stringValue", value}}; }
  json::object operator()(const std::vector<std::string>& values) const {
    json::array list;
    for (const std::string& value : values) list.push_back((*this)(value));
    return {{"arrayValue", {{"values", std::move(list)}}}};
  }
};

json::object ToJson(const Attribute& attribute) {
  return {{"key", attribute.key}, {"value", std::visit(ValueWriter(), attribute.value)}};
}

json::array ToJson(const std::vector<Attribute>& attributes) {
  json::array out;
  for (const Attribute& attribute : attributes) out.push_back(ToJson(attribute));
  return out;
}

json::object ToJson(const Span& span) {
  constexpr int kError = 2;  // STATUS_CODE_ERROR
  json::object out{{"traceId", span.trace_id},
                   {"spanId", span.span_id},
                   {"name", span.name},
                   {"kind", static_cast<int>(span.kind)},
                   {"startTimeUnixNano", std::to_string(span.begin_ns)},
                   {"endTimeUnixNano", std::to_string(span.end_ns)},
                   {"attributes", ToJson(span.attributes)}};
  if (!span.parent_span_id.empty()) out["parentSpanId"] = span.parent_span_id;
  if (span.error.has_value()) out["status"] = {{"code", kError}, {"message", *span.error}};
  return out;
}

}  // namespace

std::string OtlpJson(const std::vector<Span>& spans, const std::string& instance) {
  json::array list;
  for (const Span& span : spans) list.push_back(ToJson(span));
  const json::array resource = ToJson({{"service.name", std::string("longhand")},
                                       {"service.version", std::string(kVersion)},
                                       {"service.instance.id", instance}});
  const json::object scope{{"scope", {{"name", "longhand"}, {"version", kVersion}}},
                           {"spans", std::move(list)}};
  return json::serialize(json::object{
      {"resourceSpans",
       {{{"resource", {{"attributes", resource}}}, {"scopeSpans", json::array{scope}}}}}});
}

}  // namespace longhand::tracing
