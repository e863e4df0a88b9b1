#include "client/status/message_json.h"

#include <gtest/gtest.h>

#include "longhand/v1/cluster.pb.h"

namespace longhand::client {
namespace {

TEST(MessageJson, NumbersAreNumbersAndEveryFieldIsThere) {
  v1::GetStatusResponse status;
  status.set_model("nano");
  status.set_uptime_ms(int64_t{1} << 40);
  status.add_ranks()->set_state(v1::GROUP_STATE_READY);
  const boost::json::object json = ToJson(status);
  EXPECT_EQ(json.at("model"), "nano");
  EXPECT_EQ(json.at("uptime_ms"), int64_t{1} << 40);
  EXPECT_EQ(json.at("running_requests"), 0);
  EXPECT_EQ(json.at("ready"), false);
  EXPECT_EQ(json.at("ranks").as_array().at(0).at("state"), "GROUP_STATE_READY");
  EXPECT_TRUE(json.at("adapters").as_array().empty());
  EXPECT_EQ(json.size(), static_cast<size_t>(v1::GetStatusResponse::descriptor()->field_count()));
}

}  // namespace
}  // namespace longhand::client
