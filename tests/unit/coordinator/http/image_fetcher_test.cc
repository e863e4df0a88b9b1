#include "coordinator/http/image_fetcher.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>

namespace longhand::http {
namespace {

using ::testing::HasSubstr;

bool IsGlobal(const std::string& text) {
  sockaddr_storage storage{};
  if (text.find(':') == std::string::npos) {
    sockaddr_in v4{.sin_family = AF_INET};
    EXPECT_EQ(inet_pton(AF_INET, text.c_str(), &v4.sin_addr), 1) << text;
    std::memcpy(&storage, &v4, sizeof(v4));
  } else {
    sockaddr_in6 v6{.sin6_family = AF_INET6};
    EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr), 1) << text;
    std::memcpy(&storage, &v6, sizeof(v6));
  }
  return IsGlobalAddress(reinterpret_cast<const sockaddr&>(storage));
}

TEST(GlobalAddress, IsWhatTheInternetRoutes) {
  for (const char* text :
       {"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1",
        "192.167.0.1", "198.20.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::8a",
        "64:ff9b::808:808", "2002:808:808::1"})
    EXPECT_TRUE(IsGlobal(text)) << text;
  for (const char* text : {"0.0.0.0",
                           "10.1.2.3",
                           "100.64.0.1",
                           "127.0.0.1",
                           "127.255.255.255",
                           "169.254.169.254",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.0.0.1",
                           "192.0.2.1",
                           "192.88.99.1",
                           "192.168.1.1",
                           "198.18.0.1",
                           "198.51.100.1",
                           "203.0.113.1",
                           "224.0.0.1",
                           "240.0.0.1",
                           "255.255.255.255",
                           "::",
                           "::1",
                           "::ffff:127.0.0.1",
                           "::ffff:8.8.8.8",
                           "::7f00:1",
                           "64:ff9b::7f00:1",
                           "64:ff9b::a9fe:a9fe",
                           "64:ff9b:1::1",
                           "100::1",
                           "2001::1",
                           "2001:db8::1",
                           "2002:7f00:1::1",
                           "2002:a00:1::1",
                           "3fff::1",
                           "fc00::1",
                           "fd12::1",
                           "fe80::1",
                           "fec0::1",
                           "ff02::1"})
    EXPECT_FALSE(IsGlobal(text)) << text;
}

TEST(ImageFetcher, GoesNowhereButToThePublicInternetByHttps) {
  const ImageFetcher fetcher({});
  const auto refused = [&](const std::string& url, const std::string& why) {
    const Result<std::string> got = fetcher.Fetch(url);
    EXPECT_EQ(got.status().code(), StatusCode::kInvalidArgument) << url;
    EXPECT_THAT(got.status().message(), HasSubstr(why)) << url;
  };
  for (const char* url : {"http://a.example/b.png", "file:///etc/passwd", "ftp://a.example/b",
                          "gopher://a.example/", "https://", "nonsense"})
    refused(url, "must begin with https://");
  refused("https://user:word@a.example/b.png", "must not hold a user's name");
  for (const char* url :
       {"https://127.0.0.1/b.png", "https://127.1/", "https://2130706433/", "https://0x7f000001/",
        "https://[::1]/b.png", "https://[::ffff:127.0.0.1]/", "https://localhost:8443/",
        "https://169.254.169.254/latest/meta-data", "https://10.0.0.1/"})
    refused(url, "is not on the public internet");
}

}  // namespace
}  // namespace longhand::http
