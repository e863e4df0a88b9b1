// Span: a piece of work with its beginning and end, as OpenTelemetry has it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace longhand::tracing {

struct Attribute {
  std::string_view key;  // a literal
  std::variant<bool, int64_t, double, std::string, std::vector<std::string>> value;
};

struct Span {
  enum class Kind { kInternal = 1, kServer = 2 };  // OTLP's numbers

  std::string trace_id;        // 32 hexadecimal digits
  std::string span_id;         // 16
  std::string parent_span_id;  // 16, or empty
  std::string name;
  Kind kind = Kind::kInternal;
  int64_t begin_ns = 0;  // since 1970
  int64_t end_ns = 0;
  std::vector<Attribute> attributes;
  std::optional<std::string> error;  // what went wrong
};

// An ExportTraceServiceRequest of OTLP 1 in its JSON form, of a service named "longhand".
// `instance` tells coordinators apart.
std::string OtlpJson(const std::vector<Span>& spans, const std::string& instance);

}  // namespace longhand::tracing
