// One sample for LLaMA-Factory, and what its text must not have.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/picture.h"
#include "common/status.h"

namespace longhand::client {

struct Turn {
  bool is_user = true;
  std::string text;
};

struct Sample {
  std::vector<Turn> turns;       // the user's first, then in turn
  std::string chosen, rejected;  // for DPO: two answers to the last turn, which is the user's
  std::vector<Picture> pictures;

  bool is_pair() const { return !chosen.empty() || !rejected.empty(); }
};

inline constexpr std::string_view kImageMark = "<image>";

// <image>, <video> and <audio> become [image] and so on, and control tokens like <|im_end|> become
// [im_end]: LLaMA-Factory would take them for pictures and for ends of turns. Adds the number of
// changes to `count`.
std::string Neutral(std::string_view text, int64_t* count);

// Makes all texts neutral but for as many <image> as there are pictures: where the user's turns
// have just these, they stay; otherwise they are put at the end of the user's first turn, or at its
// beginning. kInvalidArgument where the turns are not the user's and the assistant's in turn, where
// a text is empty, or where the last turn is not whose it must be.
Status Prepare(Sample& sample, bool pictures_first, int64_t* num_neutral);

}  // namespace longhand::client
