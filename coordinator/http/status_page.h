// The page at /: what is served here, and how it is.
#pragma once

#include <string>

#include "longhand/v1/cluster.pb.h"

namespace longhand::http {

std::string StatusPage(const v1::GetStatusResponse& status, const std::string& phase);

}  // namespace longhand::http
