#include "coordinator/input/stop_matcher.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>
#include <vector>

namespace longhand::input {
namespace {

struct Outcome {
  std::string text;
  std::optional<std::string> stop;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  return out << '"' << outcome.text << "\", stop " << outcome.stop.value_or("(none)");
}

Outcome Feed(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopMatcher matcher(stops);
  Outcome outcome;
  for (const std::string& piece : pieces) {
    auto stop = matcher.Append(piece, outcome.text);
    if (stop.has_value()) outcome.stop = stop;
  }
  matcher.Finish(outcome.text);
  return outcome;
}

// What the class comment promises, found by trying every end in order.
Outcome Expected(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::string longest;
    for (const std::string& stop : stops) {
      const bool ends_here =
          stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0;
      if (ends_here && stop.size() > longest.size()) longest = stop;
    }
    if (!longest.empty()) return {text.substr(0, end - longest.size()), longest};
  }
  return {text, std::nullopt};
}

TEST(StopMatcher, TextFromTheStopStringOnIsDropped) {
  EXPECT_EQ(Feed({"END"}, {"one E", "N", "D two", " three"}), (Outcome{"one ", "END"}));
}

TEST(StopMatcher, APrefixIsHeldBackUntilItIsDecided) {
  StopMatcher matcher({"abc"});
  std::string out;
  EXPECT_FALSE(matcher.Append("xab", out).has_value());
  EXPECT_EQ(out, "x");
  EXPECT_FALSE(matcher.Append("ab", out).has_value());
  EXPECT_EQ(out, "xab");
  EXPECT_FALSE(matcher.Append("d", out).has_value());
  EXPECT_EQ(out, "xababd");
}

TEST(StopMatcher, WhatIsHeldBackAtTheEndIsReleased) {
  EXPECT_EQ(Feed({"abc"}, {"xab"}), (Outcome{"xab", std::nullopt}));
}

TEST(StopMatcher, TheFirstToEndWinsAndOfThoseTheLongest) {
  EXPECT_EQ(Feed({"cdef", "d"}, {"abcdef"}), (Outcome{"abc", "d"}));
  EXPECT_EQ(Feed({"cd", "bcd"}, {"abcdef"}), (Outcome{"a", "bcd"}));
}

TEST(StopMatcher, EmptyStopStringsNeverMatch) {
  EXPECT_EQ(Feed({""}, {"text"}), (Outcome{"text", std::nullopt}));
}

TEST(StopMatcher, NothingIsHeldBackWithoutStopStrings) {
  StopMatcher matcher({});
  std::string out;
  EXPECT_FALSE(matcher.Append("text", out).has_value());
  EXPECT_EQ(out, "text");
}

// Two letters and texts made of pieces of the stop strings, which so overlap themselves and each
// other all the time.
TEST(StopMatcher, TheMatchDoesNotDependOnHowTheTextIsCut) {
  std::mt19937 random(7);
  const auto word = [&](size_t most) {
    std::string text(1 + random() % most, 'a');
    for (char& c : text) c = random() % 2 == 0 ? 'a' : 'b';
    return text;
  };
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops(random() % 4);
    for (std::string& stop : stops) stop = word(10);
    std::vector<std::string> pieces(1 + random() % 6);
    std::string text;
    for (std::string& piece : pieces) {
      piece = stops.empty() || random() % 3 == 0 ? word(4) : stops[random() % stops.size()];
      piece.resize(1 + random() % piece.size());
      text += piece;
    }
    ASSERT_EQ(Feed(stops, pieces), Expected(stops, text)) << "seed 7, round " << round;
  }
}

}  // namespace
}  // namespace longhand::input
