// What a request asks for may be more memory than there is: then the request ends, not the process.
#pragma once

#include <new>

#include "common/status.h"

namespace longhand {

// What `work` returns, a Status or a Result; kResourceExhausted when an allocation in it failed.
// Only for work that leaves nothing behind when it is cut off anywhere.
template <typename Fn>
auto RefuseWithoutMemory(Fn&& work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("there is not enough memory for the request now").WithRetryAdvice(1);
  }
}

}  // namespace longhand
