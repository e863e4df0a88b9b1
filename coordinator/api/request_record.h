// RequestRecord: a request with nothing left open, as the journal keeps it.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "common/sampling_params.h"
#include "common/status.h"
#include "common/trace.h"
#include "coordinator/api/event_stream.h"
#include "coordinator/engine/adapter.h"
#include "coordinator/engine/request.h"
#include "longhand/journal/v1/record.pb.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::api {

// SHA-256: equal for equal requests of clients that see the answer in the same form, whenever they
// came.
std::string DigestOf(const google::protobuf::Message& request, journal::v1::AnswerForm form);

// `wire` with what `prepared` made of its open fields. Preparing it again gives the same request,
// whatever the checkpoint's defaults are by then; another model refuses it.
v1::GenerateRequest Resolve(const v1::GenerateRequest& wire,
                            const engine::Request& prepared,
                            const std::string& model);
// All of a record but the request itself. `adapter` may be null.
journal::v1::RequestRecord MakeRecord(const EventStream::Identity& identity,
                                      const std::string& checkpoint_digest,
                                      const engine::Adapter* adapter,
                                      const Trace& trace);
Trace FromWire(const journal::v1::Trace& trace);

// Writes every field that has a default.
void SetSampling(const SamplingParams& params, v1::Sampling* sampling);

}  // namespace longhand::api
