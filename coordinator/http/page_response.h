// Answers that browsers show: the writing page's parts, and what guards every page of ours.
#pragma once

#include <string_view>

#include "coordinator/http/message.h"

namespace longhand::http {

// The part, or that it has not changed (304), or 404. Browsers ask each time: a new server has a
// new page.
Response PageResponse(const Request& request, std::string_view name);

// What a page may do: load from here and nowhere else, run no code but its files, make no markup
// out of text.
void AddPageHeaders(Response* page);

}  // namespace longhand::http
