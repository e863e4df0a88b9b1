#include "coordinator/tell.h"

#include <cstdio>
#include <mutex>

namespace longhand {

void Tell(const boost::json::object& report) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  std::printf("%s\n", boost::json::serialize(report).c_str());
  std::fflush(stdout);
}

}  // namespace longhand
