// Trace: where a request belongs among the spans of a distributed trace, as W3C Trace Context
// (https://www.w3.org/TR/trace-context/) has it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace longhand {

struct Trace {
  std::string trace_id;        // 32 hexadecimal digits; empty: the request is not traced
  std::string span_id;         // 16: of the request's own span
  std::string parent_span_id;  // 16: of the caller's; empty: there is none
  std::string operation;       // what was asked for: "chat", "text_completion", "write_document"
  int64_t began_ns = 0;        // when it came, since 1970

  bool is_traced() const { return !trace_id.empty(); }
};

// A span of the trace that `traceparent` (the header) names; of a new one where it cannot be read;
// none where the caller's is not sampled.
Trace ContinueTrace(std::string_view traceparent);
// A span below `parent`'s; none when that is not traced.
Trace ChildOf(const Trace& parent);
// Now, since 1970.
int64_t UnixNanoseconds();
// 16 hexadecimal digits that nobody else draws.
std::string DrawSpanId();

}  // namespace longhand
