#include "client/chat/chat_model.h"
#include "client/generate/answer.h"
#include "client/generate/resumable_stream.h"
#include "common/request_id.h"

namespace longhand::client {
namespace {

v1::GenerateRequest WireRequest(const ChatQuestion& question) {
  v1::GenerateRequest wire;
  wire.set_request_id(DrawRequestId("chat"));
  v1::ChatMessage* message = wire.mutable_messages()->add_messages();
  message->set_role("user");
  message->add_content()->set_text(question.text);
  if (question.pictures != nullptr) {
    for (const Picture& picture : *question.pictures) {
      message->add_content()->mutable_image();
      wire.add_images()->set_data(picture.bytes);
    }
  }
  SetSampling(question.sampling, wire.mutable_sampling());
  if (question.target_words > 0) wire.mutable_length()->set_target_words(question.target_words);
  return wire;
}

v1::WriteDocumentRequest WireDocument(const ChatQuestion& question) {
  v1::WriteDocumentRequest wire;
  wire.set_request_id(DrawRequestId("chat"));
  wire.set_instruction(question.text);
  if (question.pictures != nullptr)
    for (const Picture& picture : *question.pictures) wire.add_images()->set_data(picture.bytes);
  SetSampling(question.sampling, wire.mutable_sampling());
  if (question.target_words > 0) wire.mutable_length()->set_target_words(question.target_words);
  return wire;
}

class GrpcChat final : public ChatModel {
 public:
  GrpcChat(std::shared_ptr<grpc::Channel> channel, std::chrono::seconds retry_for)
      : channel_(std::move(channel)), retry_for_(retry_for) {}

  Result<ChatReply> Ask(const ChatQuestion& question) override {
    ResumableStream stream =
        question.wants_document
            ? ResumableStream::WriteDocument(channel_, WireDocument(question), retry_for_)
            : ResumableStream::Generate(channel_, WireRequest(question), retry_for_);
    if (was_answered_) stream.ExpectServer();
    Answer answer;
    for (v1::GenerateEvent event; stream.Read(&event);) answer.Add(event);
    if (!stream.status().ok()) return stream.status();
    was_answered_ = true;
    if (answer.choices.empty()) return Internal("the server ended the answer without an event");
    return ChatReply{.text = std::move(answer.choices[0].text),
                     .finish_reason = std::move(answer.choices[0].finish_reason),
                     .completion_tokens = answer.usage.completion_tokens()};
  }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const std::chrono::seconds retry_for_;
  bool was_answered_ = false;
};

}  // namespace

std::unique_ptr<ChatModel> MakeGrpcChat(std::shared_ptr<grpc::Channel> channel,
                                        std::chrono::seconds retry_for) {
  return std::make_unique<GrpcChat>(std::move(channel), retry_for);
}

}  // namespace longhand::client
