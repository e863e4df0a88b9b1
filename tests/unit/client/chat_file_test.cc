#include "client/generate/chat_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testing/temp_directory.h"

namespace longhand::client {
namespace {

using ::testing::HasSubstr;

class ChatFileTest : public ::testing::Test {
 protected:
  Status Read(const std::string& json) {
    return ReadChatFile(directory_.Write("messages.json", json), &request_);
  }

  testing::TempDirectory directory_;
  v1::GenerateRequest request_;
};

TEST_F(ChatFileTest, TextsAndPicturesKeepTheirOrder) {
  const std::string picture = directory_.Write("a.png", "bytes of a").string();
  const Status status = Read(R"([
      {"role": "system", "content": "Be brief."},
      {"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": ")" +
                             picture + R"("}},
        {"type": "text", "text": "and"},
        {"type": "image", "image": "data:image/png;base64,Ynl0ZXMgb2YgYg=="}]}])");
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(request_.messages().messages_size(), 2);
  EXPECT_EQ(request_.messages().messages(0).content(0).text(), "Be brief.");
  const v1::ChatMessage& user = request_.messages().messages(1);
  ASSERT_EQ(user.content_size(), 3);
  EXPECT_TRUE(user.content(0).has_image());
  EXPECT_EQ(user.content(1).text(), "and");
  EXPECT_TRUE(user.content(2).has_image());
  ASSERT_EQ(request_.images_size(), 2);
  EXPECT_EQ(request_.images(0).data(), "bytes of a");
  EXPECT_EQ(request_.images(1).data(), "bytes of b");
}

TEST_F(ChatFileTest, ARequestBodyWithMessagesIsTakenToo) {
  ASSERT_TRUE(Read(R"({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})").ok());
  EXPECT_EQ(request_.messages().messages_size(), 1);
}

TEST_F(ChatFileTest, WhatIsWrongIsNamedWithTheMessagesIndex) {
  EXPECT_THAT(Read("[{").message(), HasSubstr("not JSON"));
  EXPECT_THAT(Read("3").message(), HasSubstr("expected a list of messages"));
  EXPECT_THAT(Read(R"([{"role": "user", "content": "a"}, {"content": "b"}])").message(),
              HasSubstr("message 1: it must be an object with a role"));
  EXPECT_THAT(Read(R"([{"role": "user", "content": [{"type": "video"}]}])").message(),
              HasSubstr("message 0: a content part must hold a text or a picture"));
  EXPECT_THAT(Read(R"([{"role": "user", "content": [{"image": "/no/such.png"}]}])").message(),
              HasSubstr("/no/such.png"));
  EXPECT_THAT(
      Read(R"([{"role": "user", "content": [{"image": "https://example.org/a.png"}]}])").message(),
      HasSubstr("file paths or data URLs"));
  EXPECT_THAT(
      Read(R"([{"role": "user", "content": [{"image": "data:image/png;base64,%%%"}]}])").message(),
      HasSubstr("malformed base64"));
  EXPECT_THAT(ReadChatFile(directory_.path(), &request_).message(), HasSubstr("a directory"));
}

TEST_F(ChatFileTest, APictureMayBeAFileUrl) {
  const std::string picture = directory_.Write("a.png", "bytes of a").string();
  ASSERT_TRUE(Read(R"([{"role": "user", "content": [{"type": "image", "image": "file://)" +
                   picture + R"("}]}])")
                  .ok());
  EXPECT_EQ(request_.images(0).data(), "bytes of a");
}

TEST_F(ChatFileTest, NoMessageAtAllIsStillARequestOfMessages) {
  ASSERT_TRUE(Read("[]").ok());
  EXPECT_TRUE(request_.has_messages());
}

}  // namespace
}  // namespace longhand::client
