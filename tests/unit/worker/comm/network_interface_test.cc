#include "worker/comm/network_interface.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::comm {
namespace {

using ::testing::HasSubstr;

TEST(NetworkInterface, TheLoopbackIsFound) { EXPECT_EQ(CheckInterface("lo"), OkStatus()); }

TEST(NetworkInterface, AnotherNameIsRefusedWithThoseThatThereAre) {
  const Status status = CheckInterface("lo9");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("'lo9'"));
  EXPECT_THAT(status.message(), HasSubstr("there are: "));
  EXPECT_THAT(status.message(), HasSubstr("lo"));
}

}  // namespace
}  // namespace longhand::comm
