#include "proto/grpc_log.h"

#include <gmock/gmock.h>
#include <grpc/support/log.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace longhand {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> taken;

void Say(const char* message) {
  gpr_log(GPR_ERROR, "%s", message);
  gpr_log(GPR_INFO, "%s, for who looks closely", message);
}

TEST(GrpcLogTest, ErrorsAreTakenAsLongAsItLives) {
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_DEBUG);
  ::testing::internal::CaptureStderr();
  {
    const GrpcLog log([](std::string_view message) { taken.emplace_back(message); });
    Say("no port");
  }
  Say("no address");
  EXPECT_THAT(taken, ElementsAre("no port"));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), IsEmpty());
}

}  // namespace
}  // namespace longhand
