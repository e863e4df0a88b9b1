#include "common/address.h"

#include <gtest/gtest.h>

#include <utility>

namespace longhand {
namespace {

TEST(Address, HasAHostAndAPortAndReadsBackAsItself) {
  for (const auto& [text, host, port] : {std::tuple{"127.0.0.1:0", "127.0.0.1", 0},
                                         {"worker-0.workers:7001", "worker-0.workers", 7001},
                                         {"[::1]:8001", "::1", 8001},
                                         {"[::]:0", "::", 0},
                                         {"[fd00::12:5]:65535", "fd00::12:5", 65535},
                                         {"[::ffff:10.0.0.7]:80", "::ffff:10.0.0.7", 80},
                                         {"[fe80::1%eth0]:80", "fe80::1%eth0", 80}}) {
    const Result<Address> address = Address::Parse(text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(address->host, host);
    EXPECT_EQ(address->port, port);
    EXPECT_EQ(address->ToString(), text);
  }
}

TEST(Address, WhatIsNoneIsRefusedWithWhatItMustBe) {
  for (const auto& [text, says] : {std::pair{"", "host:port with a port from 0 to 65535"},
                                   {"nohost", "host:port with a port"},
                                   {":0", "host:port with a port"},
                                   {"host:", "port from 0 to 65535"},
                                   {"host:65536", "port from 0 to 65535"},
                                   {"host:-1", "port from 0 to 65535"},
                                   {"host:+1", "port from 0 to 65535"},
                                   {"host:http", "port from 0 to 65535"},
                                   {"[]:80", "host:port with a port"},
                                   {"[::1:80", "host:port with a port"},
                                   {"[::1]", "port from 0 to 65535"},
                                   {"::1:8001", "as in [::1]:8001"},
                                   {"fd00::7:8001", "as in [::1]:8001"},
                                   {"[10.0.0.7]:80", "brackets are for IPv6"},
                                   {"[host]:80", "brackets are for IPv6"},
                                   {"[::1] :80", "host:port"}}) {
    const Result<Address> address = Address::Parse(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_EQ(address.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(address.status().message().find(says), std::string::npos)
        << address.status().message();
  }
}

}  // namespace
}  // namespace longhand
