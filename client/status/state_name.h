// The words for v1::GroupState.
#pragma once

#include <string>

#include "longhand/v1/cluster.pb.h"

namespace longhand::client {

inline const char* StateName(v1::GroupState state) {
  switch (state) {
    case v1::GROUP_STATE_CONNECTING:
      return "connecting";
    case v1::GROUP_STATE_LOADING:
      return "loading";
    case v1::GROUP_STATE_READY:
      return "ready";
    case v1::GROUP_STATE_FAILED:
      return "failed";
    default:
      return "unknown";
  }
}

// A rank as people tell them apart: "1", or "0.1" where there are several groups.
inline std::string RankName(const v1::GetStatusResponse& status, const v1::RankStatus& rank) {
  const std::string name = std::to_string(rank.rank());
  return status.groups_size() > 1 ? std::to_string(rank.group()) + "." + name : name;
}

// "2 groups of ", or nothing for the only one.
inline std::string NumGroups(const v1::GetStatusResponse& status) {
  return status.groups_size() > 1 ? std::to_string(status.groups_size()) + " groups of " : "";
}

}  // namespace longhand::client
