// StatusView: what `longhand status --watch` shows, from one answer to the next.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "longhand/v1/cluster.pb.h"

namespace longhand::client {

// A bar of `width` characters: [#####.....].
std::string Bar(double share, int width);

class StatusView {
 public:
  // Takes the next answer, `seconds` after the one before it. Rates are between the two; they are
  // of nothing while there is no answer before it, and after the server has restarted.
  void Take(const v1::GetStatusResponse& status, double seconds);

  // A table for a terminal.
  std::vector<std::string> Lines() const;
  // All of it that one line holds.
  std::string Line() const;

 private:
  std::string Rates() const;

  v1::GetStatusResponse status_;
  std::optional<double> tokens_per_second_;
  std::optional<double> steps_per_second_;
};

}  // namespace longhand::client
