// The document at /openapi.json: openapi.json of this folder, embedded.
#pragma once

#include <string_view>

namespace longhand::http {

extern const std::string_view kOpenApi;

}  // namespace longhand::http
