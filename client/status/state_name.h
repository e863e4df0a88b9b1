// The words for v1::GroupState.
#pragma once

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

}  // namespace longhand::client
