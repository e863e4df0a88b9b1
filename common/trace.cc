#include "common/trace.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <random>

namespace longhand {
namespace {

constexpr size_t kTraceDigits = 32, kSpanDigits = 16;
constexpr size_t kTraceAt = 3, kSpanAt = kTraceAt + kTraceDigits + 1;
constexpr size_t kFlagsAt = kSpanAt + kSpanDigits + 1, kLength = kFlagsAt + 2;

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsId(std::string_view text) {
  return IsHex(text) && text.find_first_not_of('0') != std::string_view::npos;
}

struct Parent {
  std::string_view trace_id, span_id;
  bool is_sampled = false;
};

// 00-TRACE-SPAN-FLAGS. Later versions may go on behind the flags.
std::optional<Parent> Parse(std::string_view text) {
  if (text.size() < kLength) return std::nullopt;
  const std::string_view version = text.substr(0, 2), flags = text.substr(kFlagsAt, 2);
  const Parent parent{
      text.substr(kTraceAt, kTraceDigits), text.substr(kSpanAt, kSpanDigits),
      IsHex(flags) && std::string_view("13579bdf").find(flags[1]) != std::string_view::npos};
  const bool has_dashes =
      text[kTraceAt - 1] == '-' && text[kSpanAt - 1] == '-' && text[kFlagsAt - 1] == '-';
  const bool ends_well = text.size() == kLength || (version != "00" && text[kLength] == '-');
  const bool is_valid = IsHex(version) && version != "ff" && IsHex(flags) && has_dashes &&
                        ends_well && IsId(parent.trace_id) && IsId(parent.span_id);
  return is_valid ? std::optional(parent) : std::nullopt;
}

}  // namespace

Trace ContinueTrace(std::string_view traceparent) {
  Trace trace{.trace_id = DrawSpanId() + DrawSpanId(),
              .span_id = DrawSpanId(),
              .began_ns = UnixNanoseconds()};
  const std::optional<Parent> parent = Parse(traceparent);
  if (!parent.has_value()) return trace;
  if (!parent->is_sampled) return {};
  trace.trace_id = parent->trace_id;
  trace.parent_span_id = parent->span_id;
  return trace;
}

Trace ChildOf(const Trace& parent) {
  if (!parent.is_traced()) return {};
  return {.trace_id = parent.trace_id,
          .span_id = DrawSpanId(),
          .parent_span_id = parent.span_id,
          .began_ns = UnixNanoseconds()};
}

int64_t UnixNanoseconds() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since_1970).count();
}

std::string DrawSpanId() {
  std::random_device device;
  char digits[kSpanDigits + 1];
  std::snprintf(digits, sizeof(digits), "%08x%08x", device() | 1U, device());
  return digits;
}

}  // namespace longhand
