// Status and grpc::Status have the same codes: crossing the wire is a cast.
#pragma once

#include <grpcpp/support/status.h>

#include <string>

#include "common/shorten.h"
#include "common/status.h"

namespace longhand {

#define LONGHAND_SAME_CODE(ours, grpcs) \
  static_assert(static_cast<int>(StatusCode::ours) == static_cast<int>(grpc::StatusCode::grpcs))
LONGHAND_SAME_CODE(kOk, OK);
LONGHAND_SAME_CODE(kCancelled, CANCELLED);
LONGHAND_SAME_CODE(kUnknown, UNKNOWN);
LONGHAND_SAME_CODE(kInvalidArgument, INVALID_ARGUMENT);
LONGHAND_SAME_CODE(kDeadlineExceeded, DEADLINE_EXCEEDED);
LONGHAND_SAME_CODE(kNotFound, NOT_FOUND);
LONGHAND_SAME_CODE(kAlreadyExists, ALREADY_EXISTS);
LONGHAND_SAME_CODE(kPermissionDenied, PERMISSION_DENIED);
LONGHAND_SAME_CODE(kResourceExhausted, RESOURCE_EXHAUSTED);
LONGHAND_SAME_CODE(kFailedPrecondition, FAILED_PRECONDITION);
LONGHAND_SAME_CODE(kAborted, ABORTED);
LONGHAND_SAME_CODE(kUnimplemented, UNIMPLEMENTED);
LONGHAND_SAME_CODE(kInternal, INTERNAL);
LONGHAND_SAME_CODE(kUnavailable, UNAVAILABLE);
LONGHAND_SAME_CODE(kDataLoss, DATA_LOSS);
LONGHAND_SAME_CODE(kUnauthenticated, UNAUTHENTICATED);
#undef LONGHAND_SAME_CODE

// A message travels as metadata, of which a client takes 8 KiB: of longer ones, with three for each
// byte that is no ASCII, it would see neither message nor code.
inline constexpr size_t kMaxGrpcMessageBytes = 2048;

inline grpc::Status ToGrpc(const Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      Shortened(status.message(), kMaxGrpcMessageBytes));
}

// Trailing metadata: whole seconds.
inline constexpr char kRetryAfterKey[] = "retry-after";

// Before a call of the server is finished with `status`.
template <typename ServerContext>
void AddRetryAfter(const Status& status, ServerContext& context) {
  if (status.retry_after_seconds() > 0)
    context.AddTrailingMetadata(kRetryAfterKey, std::to_string(status.retry_after_seconds()));
}

inline Status FromGrpc(const grpc::Status& status) {
  return Status(static_cast<StatusCode>(status.error_code()), status.error_message());
}

}  // namespace longhand
