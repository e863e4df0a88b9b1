#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "common/prometheus/prometheus_metrics.h"

namespace longhand {
namespace {

std::string HttpGet(const std::string& address, const std::string& path) {
  const int port = std::stoi(address.substr(address.rfind(':') + 1));
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>(port));
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&peer), sizeof(peer)), 0);
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string reply;
  char buffer[4096];
  for (ssize_t count; (count = read(fd, buffer, sizeof(buffer))) > 0;)
    reply.append(buffer, static_cast<size_t>(count));
  close(fd);
  return reply;
}

TEST(PrometheusMetrics, WhatIsCountedIsServed) {
  PrometheusMetrics metrics;
  metrics.GetCounter("longhand_test_total", "A count.", {{"rank", "1"}}).Increment(2);
  metrics.GetCounter("longhand_test_total", "A count.", {{"rank", "1"}}).Increment();
  metrics.GetGauge("longhand_test_level", "A level.").Set(0.5);
  metrics.GetHistogram("longhand_test_seconds", "A time.", {0.1, 1}).Observe(0.5);
  const Result<std::string> address = metrics.Serve("127.0.0.1:0");
  ASSERT_TRUE(address.ok()) << address.status();
  const std::string page = HttpGet(*address, "/metrics");
  EXPECT_NE(page.find("longhand_test_total{rank=\"1\"} 3"), std::string::npos) << page;
  EXPECT_NE(page.find("longhand_test_level 0.5"), std::string::npos);
  EXPECT_NE(page.find("longhand_test_seconds_bucket{le=\"1\"} 1"), std::string::npos);
  EXPECT_EQ(HttpGet(*address, "/metrics?name=all"), page);
  EXPECT_EQ(HttpGet(*address, "/metricsx").find("HTTP/1.0 404"), 0u);
}

TEST(PrometheusMetrics, AnAddressThatIsTakenIsRefused) {
  PrometheusMetrics first;
  PrometheusMetrics second;
  const Result<std::string> address = first.Serve("127.0.0.1:0");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(second.Serve(*address).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(second.Serve("nonsense").status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace longhand
