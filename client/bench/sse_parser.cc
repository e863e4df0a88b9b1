#include "client/bench/sse_parser.h"

namespace longhand::client {
namespace {

constexpr size_t kMaxEventBytes = size_t{16} << 20;

}  // namespace

Status SseParser::Add(std::string_view bytes,
                      const std::function<void(std::string_view data)>& on_data) {
  for (const char c : bytes) {
    const bool ends_crlf = after_cr_ && c == '\n';
    after_cr_ = c == '\r';
    if (ends_crlf) continue;
    if (c != '\n' && c != '\r') {
      line_ += c;
      if (line_.size() + data_.size() > kMaxEventBytes)
        return Internal("an event has more than ", kMaxEventBytes, " bytes");
      continue;
    }
    TakeLine(line_, on_data);
    line_.clear();
  }
  return OkStatus();
}

void SseParser::TakeLine(std::string_view line,
                         const std::function<void(std::string_view data)>& on_data) {
  if (line.empty()) {
    if (has_data_) on_data(data_);
    data_.clear();
    has_data_ = false;
    return;
  }
  if (line.substr(0, 5) != "data:") return;
  line.remove_prefix(line.substr(5, 1) == " " ? 6 : 5);
  if (has_data_) data_ += '\n';
  data_ += line;
  has_data_ = true;
}

}  // namespace longhand::client
