#include "common/agent_write/trimmer.h"

#include <algorithm>

namespace longhand {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

}  // namespace

std::string Trimmer::Add(std::string_view piece) {
  held_ += piece;
  if (!started_) held_.erase(0, std::min(held_.find_first_not_of(kSpace), held_.size()));
  const size_t end = held_.find_last_not_of(kSpace) + 1;  // npos + 1 is 0
  started_ = started_ || end > 0;
  std::string ready = held_.substr(0, end);
  held_.erase(0, end);
  return ready;
}

}  // namespace longhand
