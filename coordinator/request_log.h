// The line that the log has of each request and each document, when it ends.
#pragma once

#include "common/logging/log.h"
#include "coordinator/documents/document_writer.h"
#include "coordinator/engine/request_summary.h"

namespace longhand {

// Numbers, the id and how it ended: never what was asked or answered, and no keys. Any thread.
void LogRequest(const Log& log, const engine::RequestSummary& request);
void LogDocument(const Log& log, const documents::DocumentSummary& document);

}  // namespace longhand
