// What one client may take of the server, and for how long.
#pragma once

#include <chrono>
#include <cstdint>

namespace longhand::http {

struct Limits {
  size_t max_header_bytes = 16 * 1024;
  int64_t max_body_bytes = int64_t{256} << 20;
  int64_t max_connections = 16384;
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(75);    // between requests
  std::chrono::milliseconds header_timeout = std::chrono::seconds(10);  // for a whole head
  // A body may take this long, and one second more for every min_body_bytes_per_second that came.
  std::chrono::milliseconds body_timeout = std::chrono::seconds(30);
  int64_t min_body_bytes_per_second = 16 * 1024;
  std::chrono::milliseconds write_timeout = std::chrono::seconds(30);  // for 64 KiB to be taken
  std::chrono::milliseconds silence = std::chrono::seconds(60);        // of the client's host
  std::chrono::milliseconds linger_timeout = std::chrono::seconds(1);  // after a refusal
};

}  // namespace longhand::http
