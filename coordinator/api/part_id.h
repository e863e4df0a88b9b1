// Ids of a document's calls to the model, "ID/section-3", and of prompts that are answered
// together, "ID/prompt-3". Clients cannot choose an id with a slash, so none of these is another
// request's.
#pragma once

#include <string>
#include <string_view>

namespace longhand::api {

inline std::string PartId(const std::string& document_id, const std::string& call_name) {
  return document_id + "/" + call_name;
}

// The document of a call; empty for the id of another request.
inline std::string DocumentOf(std::string_view request_id) {
  const size_t slash = request_id.find('/');
  return std::string(request_id.substr(0, slash == std::string_view::npos ? 0 : slash));
}

}  // namespace longhand::api
