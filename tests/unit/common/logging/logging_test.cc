#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <boost/json.hpp>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "common/logging/log.h"

namespace longhand {
namespace {

const LogFields kFields = {{"request_id", std::string("chat-1")},
                           {"tokens", int64_t{17}},
                           {"ttft_ms", 1.5},
                           {"resumed", true},
                           {"note", std::string("two \"words\"\n")}};

std::vector<std::string> LinesOf(LogFormat format, const std::function<void(const Log&)>& write) {
  testing::internal::CaptureStderr();
  {
    const Log log("coordinator", format);
    write(log);
  }
  std::istringstream text(testing::internal::GetCapturedStderr());
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

TEST(Logging, AJsonLineIsAnObjectWhateverTheMessageHolds) {
  const auto lines = LinesOf(LogFormat::kJson, [](const Log& log) {
    spdlog::warn("a \"quoted\"\nmessage\t\x01 with \"tokens\":3");
    log.Event("request ended", kFields);
  });
  ASSERT_EQ(lines.size(), 2u);
  const auto plain = boost::json::parse(lines[0]).as_object();
  EXPECT_EQ(plain.at("message"), "a \"quoted\"\nmessage\t\x01 with \"tokens\":3");
  EXPECT_EQ(plain.at("level"), "warning");
  EXPECT_EQ(plain.at("program"), "coordinator");
  EXPECT_THAT(std::string(plain.at("time").as_string()),
              testing::MatchesRegex("....-..-..T..:..:..\\....Z"));
  const auto event = boost::json::parse(lines[1]).as_object();
  EXPECT_EQ(event.at("message"), "request ended");
  EXPECT_EQ(event.at("request_id"), "chat-1");
  EXPECT_EQ(event.at("tokens"), 17);
  EXPECT_EQ(event.at("ttft_ms"), 1.5);
  EXPECT_EQ(event.at("resumed"), true);
  EXPECT_EQ(event.at("note"), "two \"words\"\n");
}

TEST(Logging, ATextLineIsOneLine) {
  const auto lines =
      LinesOf(LogFormat::kText, [](const Log& log) { log.Event("request ended", kFields); });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], testing::HasSubstr("[coordinator "));
  EXPECT_THAT(lines[0], testing::EndsWith(
                            "request ended request_id=chat-1 tokens=17 ttft_ms=1.500 resumed=true "
                            "note=\"two \\\"words\\\"\\n\""));
}

TEST(Logging, ALineOfAProgramWithoutALogIsTheSameObject) {
  const auto line = boost::json::parse(JsonLogLine("info", "longhand serve", "ready")).as_object();
  EXPECT_EQ(line.at("program"), "longhand serve");
  EXPECT_EQ(line.at("message"), "ready");
}

}  // namespace
}  // namespace longhand
