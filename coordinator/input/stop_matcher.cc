#include "coordinator/input/stop_matcher.h"

#include <algorithm>

namespace longhand::input {

StopMatcher::StopMatcher(const std::vector<std::string>& stop_strings) {
  for (const std::string& stop : stop_strings) {
    if (stop.empty()) continue;
    Pattern pattern{.text = stop, .fallback = std::vector<size_t>(stop.size(), 0)};
    for (size_t i = 1, length = 0; i < stop.size(); ++i) {
      while (length > 0 && stop[i] != stop[length]) length = pattern.fallback[length - 1];
      if (stop[i] == stop[length]) ++length;
      pattern.fallback[i] = length;
    }
    patterns_.push_back(std::move(pattern));
  }
}

std::optional<std::string> StopMatcher::Append(std::string_view text, std::string& out) {
  if (stopped_) return std::nullopt;
  for (const char c : text) {
    held_.push_back(c);
    const Pattern* longest = nullptr;
    for (Pattern& pattern : patterns_) {
      if (!Advance(pattern, c)) continue;
      if (longest == nullptr || pattern.text.size() > longest->text.size()) longest = &pattern;
    }
    if (longest != nullptr) {
      out.append(held_, 0, held_.size() - longest->text.size());
      held_.clear();
      stopped_ = true;
      return longest->text;
    }
  }
  size_t keep = 0;
  for (const Pattern& pattern : patterns_) keep = std::max(keep, pattern.matched);
  out.append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return std::nullopt;
}

void StopMatcher::Finish(std::string& out) {
  out += held_;
  held_.clear();
}

// True when the whole pattern has matched. It is not advanced any further after that.
bool StopMatcher::Advance(Pattern& pattern, char c) {
  while (pattern.matched > 0 && c != pattern.text[pattern.matched]) {
    pattern.matched = pattern.fallback[pattern.matched - 1];
  }
  if (c == pattern.text[pattern.matched]) ++pattern.matched;
  return pattern.matched == pattern.text.size();
}

}  // namespace longhand::input
