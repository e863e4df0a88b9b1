// A document's request from the wire, checked, with nothing left open.
#pragma once

#include "common/status.h"
#include "coordinator/api/request_preparer.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::documents {

// `wire` as the journal keeps it: model, sampling and seed filled in. The same again gives the same
// document, whatever the checkpoint's defaults are by then. What the first call to the model will
// check (pictures, priority, cache_salt, room in the context) is left to it. kInvalidArgument names
// the field.
Result<v1::WriteDocumentRequest> ResolveDocument(const v1::WriteDocumentRequest& wire,
                                                 const std::string& request_id,
                                                 const api::RequestPreparer& preparer);

// Of a request: kInvalidArgument when it brings a plan that cannot be read.
Status CheckPlan(const v1::WriteDocumentRequest& request);

}  // namespace longhand::documents
