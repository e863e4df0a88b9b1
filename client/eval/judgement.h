// What the judge says of a text.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "common/status.h"

namespace longhand::client {

inline constexpr std::array<std::string_view, 6> kDimensions = {
    "Relevance", "Accuracy", "Coherence", "Clarity", "Breadth and Depth", "Reading Experience"};

struct Judgement {
  std::array<int, kDimensions.size()> scores{};  // of kDimensions, 1 to 5
  std::string analysis;

  // S_q: 0 where all are 1, 100 where all are 5.
  double Quality() const;
};

// kInvalidArgument where a dimension is missing or no number from 1 to 5 ("4" is none, 4.0 is).
Result<Judgement> ParseJudgement(std::string_view reply);

}  // namespace longhand::client
