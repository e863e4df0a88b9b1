// The spans of requests and documents that have ended, for a distributed trace. The attributes have
// the names of OpenTelemetry's conventions for generative AI where these have one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/documents/document_writer.h"
#include "coordinator/engine/request_summary.h"
#include "coordinator/tracing/span.h"

namespace longhand {

// The request's span first, then those of what it went through, as far as this coordinator saw it.
// `now_ns`: when it ended, since 1970. Numbers, the id and how it ended: never what was asked or
// answered.
std::vector<tracing::Span> SpansOf(const engine::RequestSummary& request,
                                   const std::string& served_model_name,
                                   int64_t now_ns);
// The document's; its calls to the model are requests with spans of their own below it.
tracing::Span SpanOf(const documents::DocumentSummary& document,
                     const std::string& served_model_name,
                     int64_t now_ns);

}  // namespace longhand
