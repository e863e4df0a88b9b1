// Errors in OpenAI's form: {"error":{"message","type","param","code"}}.
#pragma once

#include <string>

#include "common/status.h"
#include "coordinator/http/message.h"

namespace longhand::http {

// The one table from Status to HTTP.
int HttpStatusOf(StatusCode code);

// `param`: the request's field that is at fault; empty: the one whose name the message begins with,
// if it does.
std::string ErrorJson(const Status& status, const std::string& param = "");
Response ErrorResponse(const Status& status, const std::string& param = "");
// What a Status has no code for: 405, 413 and others of HTTP itself.
Response ErrorResponse(int http_status, const std::string& message);

}  // namespace longhand::http
