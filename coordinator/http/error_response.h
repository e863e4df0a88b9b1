// Errors in OpenAI's form: {"error":{"message","type","param","code"}}.
#pragma once

#include <string>

#include "common/status.h"
#include "coordinator/http/message.h"

namespace longhand::http {

// The one table from Status to HTTP.
int HttpStatusOf(StatusCode code);

// `param` and `code` are of what the status is about.
std::string ErrorJson(const Status& status);
Response ErrorResponse(const Status& status);
// What a Status has no code for: 405, 413 and others of HTTP itself.
Response ErrorResponse(int http_status, const std::string& message);

}  // namespace longhand::http
