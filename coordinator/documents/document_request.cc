#include "coordinator/documents/document_request.h"

#include "common/agent_write/outline.h"
#include "common/agent_write/trimmer.h"
#include "coordinator/api/document_desk.h"

namespace longhand::documents {
namespace {

static_assert(api::kMaxDocumentWords == static_cast<int64_t>(kMaxSections) * kMaxSectionWords);

// Each is of one answer; a document is many.
Status CheckUnset(const v1::Sampling& sampling) {
  const char* set = sampling.n() > 1                     ? "n"
                    : sampling.stop_size() > 0           ? "stop"
                    : sampling.stop_token_ids_size() > 0 ? "stop_token_ids"
                    : sampling.min_tokens() > 0          ? "min_tokens"
                    : sampling.ignore_eos()              ? "ignore_eos"
                    : sampling.logit_bias_size() > 0     ? "logit_bias"
                                                         : nullptr;
  if (set == nullptr) return OkStatus();
  return InvalidField(set, " is set; a document takes none");
}

}  // namespace

Status CheckPlan(const v1::WriteDocumentRequest& request) {
  if (request.plan().empty()) return OkStatus();
  return ParseOutline(request.plan()).status().WithContext("plan cannot be read").About("plan");
}

Result<v1::WriteDocumentRequest> ResolveDocument(const v1::WriteDocumentRequest& wire,
                                                 const std::string& request_id,
                                                 const api::RequestPreparer& preparer) {
  LONGHAND_RETURN_IF_ERROR(preparer.CheckModel(wire.model()));
  if (Trimmed(wire.instruction()).empty())
    return InvalidField("instruction", " is empty; it must say what to write");
  const int64_t words = wire.length().target_words();
  if (words < 0 || words > api::kMaxDocumentWords) {
    return InvalidField("target_words", " is ", words, "; it must be from 1 to ",
                        api::kMaxDocumentWords, ", or 0 for no target");
  }
  LONGHAND_RETURN_IF_ERROR(CheckUnset(wire.sampling()));
  if (wire.sampling().has_max_tokens() && wire.sampling().max_tokens() < 1) {
    return InvalidField("max_tokens", " is ", wire.sampling().max_tokens(),
                        "; each call of a document needs at least 1");
  }
  LONGHAND_RETURN_IF_ERROR(CheckPlan(wire));
  if (!v1::OnDisconnect_IsValid(wire.on_disconnect())) {
    return InvalidField("on_disconnect", " is ", wire.on_disconnect(), "; it must be from 0 to ",
                        v1::OnDisconnect_MAX);
  }
  v1::WriteDocumentRequest resolved = wire;
  resolved.set_request_id(request_id);
  if (wire.model().empty()) resolved.set_model(preparer.served_model_name());
  LONGHAND_ASSIGN_OR_RETURN(*resolved.mutable_sampling(),
                            preparer.ResolveSampling(wire.sampling()));
  if (!wire.sampling().has_repetition_guard())
    resolved.mutable_sampling()->set_repetition_guard(true);
  return resolved;
}

}  // namespace longhand::documents
