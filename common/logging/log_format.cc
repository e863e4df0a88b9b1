#include "common/logging/log_format.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "common/logging/json_text.h"

namespace longhand {
namespace {

std::string ValueText(const LogValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<int64_t>(&value)) return fmt::format("{}", *number);
  if (const auto* number = std::get_if<double>(&value)) return fmt::format("{:.3f}", *number);
  return JsonText(std::get<std::string>(value));
}

// As a person reads it: quotes only where they are needed.
std::string PlainText(const LogValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  if (text == nullptr) return ValueText(value);
  const std::string quoted = JsonText(*text);
  const bool is_one_word = !text->empty() && text->find_first_of(" =\"") == std::string::npos &&
                           quoted.size() == text->size() + 2;
  return is_one_word ? *text : quoted;
}

}  // namespace

std::string JsonLogHead(std::chrono::system_clock::time_point time,
                        std::string_view level,
                        std::string_view program) {
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
  return fmt::format(
      R"({{"time":"{:%Y-%m-%dT%H:%M:%S}.{:03}Z","level":"{}","program":{},"pid":{},)",
      fmt::gmtime(std::chrono::system_clock::to_time_t(time)), ms % 1000, level, JsonText(program),
      getpid());
}

std::string JsonLogLine(std::string_view level,
                        std::string_view program,
                        std::string_view message) {
  return JsonLogHead(std::chrono::system_clock::now(), level, program) + EventJson(message, {}) +
         "}\n";
}

std::string EventText(std::string_view message, const LogFields& fields) {
  std::string text(message);
  for (const auto& [name, value] : fields) text += fmt::format(" {}={}", name, PlainText(value));
  return text;
}

std::string EventJson(std::string_view message, const LogFields& fields) {
  std::string members = "\"message\":" + JsonText(message);
  for (const auto& [name, value] : fields)
    members += fmt::format(",\"{}\":{}", name, ValueText(value));
  return members;
}

}  // namespace longhand
