// What is served here, and how it is: the page at /status, and the same as JSON for the writing
// page.
#pragma once

#include "coordinator/http/message.h"
#include "longhand/v1/cluster.pb.h"

namespace longhand::http {

Response StatusPage(const v1::GetStatusResponse& status);
Response StatusJson(const v1::GetStatusResponse& status);

}  // namespace longhand::http
