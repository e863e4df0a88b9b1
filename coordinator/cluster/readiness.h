// Readiness: whether tokens can be made now, and what is missing if not. What /readyz,
// grpc.health.v1 and GetStatus say comes from here.
#pragma once

#include <string>

namespace longhand::cluster {

struct Readiness {
  bool ready = false;
  bool was_ready = false;  // now or earlier
  // "connecting", "loading", "warming_up", "ready", "stalled" (a group is up and makes no
  // progress), "journal" (requests cannot be kept), "draining", "failed".
  std::string phase = "connecting";
  double percent = 0;  // of the weights that must be loaded, 0 to 100
  // What is waited for, or what failed; when ready, which of several groups are not.
  std::string detail;
};

class ReadinessSource {
 public:
  virtual ~ReadinessSource() = default;
  // Any thread; does not wait.
  virtual Readiness Check() const = 0;
};

}  // namespace longhand::cluster
