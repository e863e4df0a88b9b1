// Status and Result<T>: how everything that the outside may cause is reported.
//
// Codes have gRPC's names and numbers, so that a Status crosses processes by a cast. A message says what was seen and
// what is allowed, in one sentence fit for a user. kernels/ builds with this alone, hence no library behind it.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "common/check.h"

namespace longhand {

enum class StatusCode : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// "INVALID_ARGUMENT" and so on, as gRPC prints them.
std::string_view StatusCodeName(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }
  // "OK", or "INVALID_ARGUMENT: temperature is -1; it must be at least 0".
  std::string ToString() const;
  // The same code with "context: " in front of the message; OK stays OK.
  Status WithContext(std::string_view context) const;
  // What of a request is at fault: a field, by its name ("top_p", "messages", "model"), or kContextLength. Empty: nothing
  // of it, or the error does not say. Edges whose errors have a place for it pass it on (OpenAI's `param` and `code`).
  const std::string& about() const { return about_; }
  Status About(std::string what) const;
  // When it is worth trying again; 0: the error does not say. Edges pass it on (gRPC's trailing metadata and HTTP's
  // header `retry-after`).
  int64_t retry_after_seconds() const { return retry_after_seconds_; }
  Status WithRetryAfter(int64_t seconds) const;
  // The same, and the message ends with "; try again in N s".
  Status WithRetryAdvice(int64_t seconds) const;

  friend bool operator==(const Status&, const Status&) = default;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
  std::string about_;
  int64_t retry_after_seconds_ = 0;
};

// Status::about(): prompt and answer together do not fit the model's context.
inline constexpr char kContextLength[] = "context_length";

std::ostream& operator<<(std::ostream& out, const Status& status);

inline Status OkStatus() { return {}; }

namespace internal {
template <typename... Parts>
Status MakeStatus(StatusCode code, const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  return Status(code, message.str());
}
}  // namespace internal

// Each joins its parts: InvalidArgument("image ", i, " has ", size, " bytes; at most ", max, " are allowed").
template <typename... Parts>
Status InvalidArgument(const Parts&... parts) {
  return internal::MakeStatus(StatusCode::kInvalidArgument, parts...);
}
// About the field, whose name the message begins with: InvalidField("top_p", " is ", top_p, "; it must be in (0, 1]").
template <typename... Parts>
Status InvalidField(const std::string& field, const Parts&... parts) {
  return InvalidArgument(field, parts...).About(field);
}
template <typename... Parts>
Status NotFound(const Parts&... parts) {
  return internal::MakeStatus(StatusCode::kNotFound, parts...);
}
template <typename... Parts>
Status ResourceExhausted(const Parts&... parts) {
  return internal::MakeStatus(StatusCode::kResourceExhausted, parts...);
}
template <typename... Parts>
Status FailedPrecondition(const Parts&... parts) {
  return internal::MakeStatus(StatusCode::kFailedPrecondition, parts...);
}
template <typename... Parts>
Status Unimplemented(const Parts&... parts) {
  return internal::MakeStatus(StatusCode::kUnimplemented, parts...);
}
template <typename... Parts>
Status Internal(const Parts&... parts) {
  return internal::MakeStatus(StatusCode::kInternal, parts...);
}
template <typename... Parts>
Status Unavailable(const Parts&... parts) {
  return internal::MakeStatus(StatusCode::kUnavailable, parts...);
}
template <typename... Parts>
Status DeadlineExceeded(const Parts&... parts) {
  return internal::MakeStatus(StatusCode::kDeadlineExceeded, parts...);
}
template <typename... Parts>
Status Aborted(const Parts&... parts) {
  return internal::MakeStatus(StatusCode::kAborted, parts...);
}
template <typename... Parts>
Status Cancelled(const Parts&... parts) {
  return internal::MakeStatus(StatusCode::kCancelled, parts...);
}

// A value, or why there is none. Reading the value of a failed Result is a bug.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT: implicit on purpose
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit on purpose
    LONGHAND_CHECK(!status_.ok()) << "an OK Result needs a value";
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & {
    LONGHAND_CHECK(ok()) << status_;
    return *value_;
  }
  const T& value() const& {
    LONGHAND_CHECK(ok()) << status_;
    return *value_;
  }
  T&& value() && {
    LONGHAND_CHECK(ok()) << status_;
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace longhand

#define LONGHAND_CONCAT_INNER(a, b) a##b
#define LONGHAND_CONCAT(a, b) LONGHAND_CONCAT_INNER(a, b)

#define LONGHAND_RETURN_IF_ERROR(expression)                              \
  do {                                                                    \
    if (::longhand::Status status_ = (expression); !status_.ok()) {       \
      return status_;                                                     \
    }                                                                     \
  } while (false)

// LONGHAND_ASSIGN_OR_RETURN(auto config, LoadConfig(path));
#define LONGHAND_ASSIGN_OR_RETURN(lhs, expression) \
  LONGHAND_ASSIGN_OR_RETURN_INNER(LONGHAND_CONCAT(result_, __LINE__), lhs, expression)
#define LONGHAND_ASSIGN_OR_RETURN_INNER(result, lhs, expression) \
  auto result = (expression);                                    \
  if (!result.ok()) return result.status();                      \
  lhs = std::move(result).value()
