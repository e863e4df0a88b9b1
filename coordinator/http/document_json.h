// Events of a document become JSON: whole documents, and the steps of streams.
#pragma once

#include <boost/json.hpp>
#include <vector>

#include "coordinator/http/answer_json.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::http {

// What the event adds to a stream: "plan", "section_begin", "text", "section_end", or how the
// document ended.
boost::json::object DocumentStepJson(const v1::GenerateEvent& event);

// The whole document. `events` are all of them.
boost::json::object WholeDocumentJson(const AnswerHead& head,
                                      const std::vector<const v1::GenerateEvent*>& events);

}  // namespace longhand::http
