// LONGHAND_CHECK(condition) << ...: ends the process when our own code is wrong.
//
// What the outside may cause is a Status (status.h); a failed check is a bug, prints file, line, the condition and
// what was streamed into it, and aborts. The supervisor restarts the process.
#pragma once

#include <sstream>

namespace longhand::internal {

// Collects the message and aborts when it goes out of scope.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  [[noreturn]] ~CheckFailure();
  std::ostream& stream() { return message_; }

 private:
  std::ostringstream message_;
};

// Turns the stream expression into void, so that both branches of ?: agree.
struct Voidify {
  void operator&(std::ostream&) const {}
};

}  // namespace longhand::internal

#define LONGHAND_CHECK(condition)                                   \
  (condition) ? (void)0                                             \
              : ::longhand::internal::Voidify() &                   \
                    ::longhand::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()

#define LONGHAND_CHECK_EQ(a, b) LONGHAND_CHECK((a) == (b)) << (a) << " vs " << (b) << " "
#define LONGHAND_CHECK_LE(a, b) LONGHAND_CHECK((a) <= (b)) << (a) << " vs " << (b) << " "
#define LONGHAND_CHECK_LT(a, b) LONGHAND_CHECK((a) < (b)) << (a) << " vs " << (b) << " "
#define LONGHAND_CHECK_GE(a, b) LONGHAND_CHECK((a) >= (b)) << (a) << " vs " << (b) << " "
