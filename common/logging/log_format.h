// How programs write their logs: lines on standard error, for people or as JSON objects.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace longhand {

enum class LogFormat : uint8_t { kText, kJson };

// Values of --log-format.
inline constexpr const char* kLogFormatNames[] = {"text", "json"};
inline LogFormat LogFormatOf(std::string_view name) {
  return name == "json" ? LogFormat::kJson : LogFormat::kText;
}

// {"time":"2026-01-31T12:34:56.789Z","level":"info","program":"longhand","pid":1,"message":"..."}
std::string JsonLogLine(std::string_view level, std::string_view program, std::string_view message);

using LogValue = std::variant<bool, int64_t, double, std::string>;
using LogFields = std::vector<std::pair<std::string_view, LogValue>>;

// `message name=value name="two words"`, or `"message":"...","name":value`: what JsonLogLine puts
// in the object.
std::string EventText(std::string_view message, const LogFields& fields);
std::string EventJson(std::string_view message, const LogFields& fields);

}  // namespace longhand
