// DocumentDesk: where documents begin, whoever asks. Implemented in coordinator/documents.
#pragma once

#include <memory>

#include "common/status.h"
#include "coordinator/api/event_stream.h"
#include "coordinator/api/request_intake.h"
#include "longhand/journal/v1/record.pb.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::api {

// What fits an outline of kMaxSections sections of kMaxSectionWords.
inline constexpr int64_t kMaxDocumentWords = 640'000;

class DocumentDesk {
 public:
  virtual ~DocumentDesk() = default;
  // Input thread. As RequestIntake::FollowOrBegin.
  virtual Result<std::shared_ptr<EventStream>> FollowOrBegin(const v1::WriteDocumentRequest& wire,
                                                             RequestIntake::Call call) = 0;
  // Input thread. A document that an earlier coordinator did not bring to its end goes on; `stream`
  // has the events that it had. `adapter` may be null: it is the model's own.
  virtual void Restore(const std::shared_ptr<EventStream>& stream,
                       const journal::v1::RequestRecord& record,
                       AdapterTable::Held adapter) = 0;
};

}  // namespace longhand::api
