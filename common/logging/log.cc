#include "common/logging/log.h"

#include <spdlog/async.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "common/logging/json_text.h"

namespace longhand {
namespace {

// By its name the formatter knows that a line is an event's.
constexpr char kEvents[] = "events";
constexpr size_t kMaxWaitingEvents = 8192;

class JsonFormatter final : public spdlog::formatter {
 public:
  explicit JsonFormatter(std::string program) : program_(std::move(program)) {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) override {
    const auto level = spdlog::level::to_string_view(message.level);
    const std::string_view payload(message.payload.data(), message.payload.size());
    const bool is_event =
        std::string_view(message.logger_name.data(), message.logger_name.size()) == kEvents;
    std::string text =
        JsonLogHead(std::chrono::time_point_cast<std::chrono::system_clock::duration>(message.time),
                    {level.data(), level.size()}, program_);
    text += is_event ? std::string(payload) : EventJson(payload, {});
    text += "}\n";
    line.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>(program_);
  }

 private:
  const std::string program_;
};

}  // namespace

Log::Log(const std::string& program, LogFormat format) : format_(format) {
  const auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  if (format == LogFormat::kJson) {
    sink->set_formatter(std::make_unique<JsonFormatter>(program));
  } else {
    sink->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ [" + program + " %P] %v");
  }
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(program, sink));
  spdlog::init_thread_pool(kMaxWaitingEvents, 1);
  events_ = std::make_shared<spdlog::async_logger>(kEvents, sink, spdlog::thread_pool(),
                                                   spdlog::async_overflow_policy::overrun_oldest);
}

Log::~Log() { spdlog::shutdown(); }

void Log::Event(std::string_view message, const LogFields& fields) const {
  const std::string line =
      format_ == LogFormat::kJson ? EventJson(message, fields) : EventText(message, fields);
  events_->log(spdlog::level::info, spdlog::string_view_t(line));
}

}  // namespace longhand
