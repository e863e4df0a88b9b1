// Validators for CLI11: an empty text, or why the address is refused.
#pragma once

#include <string>

namespace longhand {

// host:port. Port 0 picks a free one.
std::string CheckAddress(const std::string& given);
// host:port or unix:PATH, where a worker listens.
std::string CheckWorkerAddress(const std::string& given);
// The same, where a worker is reached: port 0 is none.
std::string CheckPeerAddress(const std::string& given);

// An http:// or https:// URL with a host, or nothing.
std::string CheckHttpUrl(const std::string& given);

}  // namespace longhand
