#include "client/chat/asker.h"

#include <thread>

namespace longhand::client {
namespace {

bool MayPass(StatusCode code) {
  switch (code) {
    case StatusCode::kUnavailable:
    case StatusCode::kResourceExhausted:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kInternal:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<ChatReply> AskPatiently(ChatModel& model,
                               const ChatQuestion& question,
                               const TryPolicy& policy) {
  for (int i = 1;; ++i) {
    Result<ChatReply> reply = model.Ask(question);
    if (reply.ok() || i >= policy.max_tries || !MayPass(reply.status().code())) return reply;
    std::this_thread::sleep_for(policy.pause);
  }
}

}  // namespace longhand::client
