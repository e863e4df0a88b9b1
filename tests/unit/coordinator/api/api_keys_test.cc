#include "coordinator/api/api_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::api {
namespace {

using ::testing::HasSubstr;

constexpr char kSecretHash[] = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

TEST(ApiKeys, KeysHaveNamesAndMayBeHashes) {
  const Result<ApiKeys> keys = ApiKeys::Parse(
      "# keys\n\nsk-one\r\nalice: sk-two\nbob:sha256:" + std::string(kSecretHash) + "\n");
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(keys->Check("Bearer sk-one").value(), "key-1");
  EXPECT_EQ(keys->Check("bearer  sk-two").value(), "alice");
  EXPECT_EQ(keys->Check("Bearer secret").value(), "bob");
  for (const char* wrong :
       {"", "Bearer", "Bearer ", "sk-one", "Basic sk-one", "Bearer sk-on", "Bearer sk-one2"})
    EXPECT_EQ(keys->Check(wrong).status().code(), StatusCode::kUnauthenticated) << wrong;
  EXPECT_EQ(keys->Check("Bearer " + std::string(kSecretHash)).status().code(),
            StatusCode::kUnauthenticated);
}

TEST(ApiKeys, WithoutKeysEverybodyMayCall) {
  EXPECT_FALSE(ApiKeys().required());
  EXPECT_EQ(ApiKeys().Check("").value(), "");
}

TEST(ApiKeys, AFileThatIsNoListOfKeysIsRefused) {
  EXPECT_THAT(ApiKeys::Parse("a\nbob:sha256:12\n").status().message(),
              HasSubstr("line 2 is no key"));
  EXPECT_THAT(ApiKeys::Parse("# nothing\n").status().message(), HasSubstr("there is no key"));
  EXPECT_FALSE(ApiKeys::Parse(":key").ok());
  EXPECT_FALSE(ApiKeys::Load("/nowhere").ok());
}

}  // namespace
}  // namespace longhand::api
