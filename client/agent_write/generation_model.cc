#include "client/agent_write/generation_model.h"

#include "client/generate/chat_file.h"
#include "client/generate/resumable_stream.h"
#include "common/request_id.h"

namespace longhand::client {

Result<GenerationModel> GenerationModel::Create(const std::shared_ptr<grpc::Channel>& channel,
                                                const std::vector<std::string>& image_paths,
                                                const SamplingOptions& sampling,
                                                std::chrono::seconds retry_for) {
  v1::GenerateRequest request;
  LONGHAND_RETURN_IF_ERROR(SetPrompt("", image_paths, &request));
  SetSampling(sampling, request.mutable_sampling());
  request.mutable_return_()->set_token_ids(true);
  return GenerationModel(channel, std::move(request), retry_for);
}

Result<Reply> GenerationModel::Ask(const std::string& prompt, const OnPiece& on_piece) {
  request_.mutable_messages()->mutable_messages(0)->mutable_content(0)->set_text(prompt);
  request_.set_request_id(DrawRequestId("cli"));
  ResumableStream stream = ResumableStream::Generate(channel_, request_, retry_for_);
  if (was_answered_) stream.ExpectServer();
  Reply reply;
  for (v1::GenerateEvent event; stream.Read(&event);) {
    reply.text += event.text();
    reply.num_tokens += event.token_ids_size();
    if (event.finish_reason() == v1::FINISH_REASON_LENGTH) reply.cut_off = true;
    on_piece(event.text(), event.token_ids_size());
  }
  v1::Sampling* sampling = request_.mutable_sampling();
  if (sampling->has_seed()) sampling->set_seed(sampling->seed() + 1);
  if (!stream.status().ok()) return stream.status();
  was_answered_ = true;
  return reply;
}

}  // namespace longhand::client
