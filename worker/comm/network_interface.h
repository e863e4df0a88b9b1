// The network interfaces of this host.
#pragma once

#include <string>

#include "common/status.h"

namespace longhand::comm {

// kInvalidArgument, naming those that there are, when no interface has that name and an address.
Status CheckInterface(const std::string& name);

}  // namespace longhand::comm
