// Text of the fake model: token t is the letter 'a' + t % 26, but every seventh token is the first
// half of the letter that the next token completes, so that text lags behind tokens as real
// detokenised text does.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/engine/text_state.h"

namespace longhand::engine {

class FakeText final : public TextState {
 public:
  FakeText(std::vector<std::string> stop_strings, int64_t target_words)
      : stop_strings_(std::move(stop_strings)), target_words_(target_words) {}

  Delta Append(int32_t token_id) override {
    half_ = token_id % 7 == 6;
    if (half_) return {};
    held_ += static_cast<char>('a' + token_id % 26);
    for (const std::string& stop : stop_strings_) {
      if (const size_t at = held_.find(stop); at != std::string::npos)
        return {.text = held_.substr(0, at), .stop_string = stop};
    }
    size_t num_held = 0;  // what may still become a stop string
    for (const std::string& stop : stop_strings_) {
      for (size_t length = std::min(stop.size() - 1, held_.size()); length > num_held; --length) {
        if (held_.ends_with(stop.substr(0, length))) num_held = length;
      }
    }
    const size_t num_out = held_.size() - num_held;
    Delta delta{.text = held_.substr(0, num_out)};
    held_.erase(0, num_out);
    num_words_ += static_cast<int64_t>(num_out);
    delta.target_reached = target_words_ > 0 && num_words_ >= target_words_;
    return delta;
  }

  std::string Finish() override { return std::exchange(held_, "") + (half_ ? "?" : ""); }

  // A word a letter, as far as it is out.
  int64_t num_words() const override { return num_words_; }
  bool is_short() const override { return num_words_ < target_words_ / 2; }

 private:
  const std::vector<std::string> stop_strings_;
  const int64_t target_words_;
  int64_t num_words_ = 0;
  std::string held_;
  bool half_ = false;
};

class FakeTextFactory final : public TextStateFactory {
 public:
  std::unique_ptr<TextState> Create(const std::vector<std::string>& stop_strings,
                                    int64_t target_words) const override {
    return std::make_unique<FakeText>(stop_strings, target_words);
  }
};

}  // namespace longhand::engine
