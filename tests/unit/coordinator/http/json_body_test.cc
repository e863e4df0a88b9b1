#include "coordinator/http/json_body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace longhand::http {
namespace {

using ::testing::HasSubstr;

// A list of as many ones.
std::string Ones(size_t count) {
  std::string body = "{\"a\":[1";
  for (size_t i = 1; i < count; ++i) body += ",1";
  return body + "]}";
}

TEST(JsonBody, AnObjectIsItsFields) {
  EXPECT_EQ(ParseJsonBody(R"({"a": [1, "b"]})")->at("a").as_array().size(), 2u);
  EXPECT_EQ(ParseJsonBody("[1]").status().message(), "the body is a list; it must be an object");
  EXPECT_THAT(ParseJsonBody("{} {}").status().message(), HasSubstr("the body is not JSON: "));
  EXPECT_THAT(ParseJsonBody("{\"a\":").status().message(), HasSubstr("the body is not JSON: "));
}

TEST(JsonBody, MoreThanItMayTakeIsRefused) {
  const auto parsed = ParseJsonBody(Ones(400'000));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->at("a").as_array().size(), 400'000u);
  const auto refused = ParseJsonBody(Ones(4'000'000));
  EXPECT_EQ(refused.status().message(),
            "the body has 8000007 bytes in so many parts that they take more than 99108892 once "
            "parsed; that is what it may take");
}

TEST(JsonBody, ItsDepthIsBounded) {
  const auto nested = [](size_t depth) {
    return "{\"a\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  EXPECT_TRUE(ParseJsonBody(nested(32)).ok());
  EXPECT_EQ(
      ParseJsonBody(nested(33)).status().message(),
      "the body's lists and objects lie deeper in each other than 32 levels, which are allowed");
}

TEST(JsonBody, ATextMayBeWrittenInEscapes) {
  std::string body = "{\"a\":\"";
  for (int i = 0; i < 20'000'000; ++i) body += "\\/";
  const auto parsed = ParseJsonBody(body + "\"}");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->at("a").as_string().size(), 20'000'000u);
}

}  // namespace
}  // namespace longhand::http
