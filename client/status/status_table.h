// What `longhand status` shows once.
#pragma once

#include <string>

#include "longhand/v1/cluster.pb.h"

namespace longhand::client {

std::string StatusTable(const v1::GetStatusResponse& status);

}  // namespace longhand::client
