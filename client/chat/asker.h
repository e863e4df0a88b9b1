// Asks a model again where an error may pass.
#pragma once

#include "client/chat/chat_model.h"

namespace longhand::client {

// LongWriter-V's scripts try three times, a second apart.
struct TryPolicy {
  int max_tries = 3;
  std::chrono::milliseconds pause{1000};
};

// Up to `max_tries` times. Errors that would come again (a request that is refused as such) are
// returned at once. A model's refusal is an answer.
Result<ChatReply> AskPatiently(ChatModel& model,
                               const ChatQuestion& question,
                               const TryPolicy& policy);

}  // namespace longhand::client
