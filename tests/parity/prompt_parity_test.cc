// A request's way in: messages and picture files from the wire become the recorded ids, positions
// and pixels.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "common/config/model_config.h"
#include "coordinator/api/request_preparer.h"
#include "coordinator/input/image_processor.h"
#include "coordinator/input/prompt_encoder.h"
#include "longhand/v1/generation.pb.h"
#include "shim/chat_template.h"
#include "shim/tokenizer.h"
#include "tests/parity/recorded_prompt.h"
#include "tests/parity/recording.h"

namespace longhand::parity {
namespace {

constexpr int64_t kMaxModelLen = 4096;

template <typename T>
T Unwrap(Result<T> result) {
  LONGHAND_CHECK(result.ok()) << result.status();
  return std::move(result).value();
}

void AddContent(const boost::json::value& content, v1::ChatMessage* message) {
  if (content.is_string()) {
    message->add_content()->set_text(std::string(content.as_string()));
    return;
  }
  for (const boost::json::value& part : content.as_array()) {
    if (part.at("type") == "text") {
      message->add_content()->set_text(std::string(part.at("text").as_string()));
    } else {
      message->add_content()->mutable_image();
    }
  }
}

v1::GenerateRequest ReadRequest(const Recording& recording, const std::string& case_name) {
  v1::GenerateRequest request;
  for (const boost::json::value& message : recording.Case(case_name).at("messages").as_array()) {
    v1::ChatMessage* out = request.mutable_messages()->add_messages();
    out->set_role(std::string(message.at("role").as_string()));
    AddContent(message.at("content"), out);
  }
  for (const std::string& file : recording.CaseImages(case_name)) {
    std::ifstream in(recording.ImagePath(file), std::ios::binary);
    request.add_images()->mutable_data()->assign(std::istreambuf_iterator<char>(in), {});
  }
  request.mutable_sampling()->set_max_tokens(1);
  return request;
}

TEST(PromptParity, RequestsBecomeTheRecordedIdsPositionsAndPixels) {
  const Recording& recording = TestRecording();
  const ModelConfig config = Unwrap(ModelConfig::Load(TestCheckpoint()));
  const shim::Tokenizer tokenizer = Unwrap(shim::Tokenizer::Load(TestCheckpoint()));
  const shim::ChatTemplate chat_template = Unwrap(shim::ChatTemplate::Load(TestCheckpoint()));
  const input::PromptEncoder encoder(tokenizer, chat_template,
                                     {.vocab_size = static_cast<int32_t>(config.vocab_size),
                                      .video_token_id = config.video_token_id,
                                      .max_model_len = kMaxModelLen});
  const input::ImageProcessor images(
      config.vision,
      {.min_pixels = config.image_policy.min_pixels, .max_pixels = config.image_policy.max_pixels},
      input::ImageLimits{});
  const api::RequestPreparer preparer(config, encoder, images,
                                      {.served_model_name = "nano",
                                       .max_model_len = [] { return kMaxModelLen; },
                                       .draw_seed = [] { return uint64_t{1}; }});
  for (const std::string& name : recording.CaseNames()) {
    SCOPED_TRACE(name);
    const Result<engine::Request> request = preparer.Prepare(ReadRequest(recording, name));
    ASSERT_TRUE(request.ok()) << request.status();
    const RecordedPrompt expected = LoadPrompt(recording, name, config.image_token_id);
    EXPECT_EQ(request->token_ids, expected.token_ids);
    EXPECT_EQ(request->positions, expected.positions);
    EXPECT_EQ(request->rope_delta, expected.rope_delta);
    ASSERT_EQ(request->images.size(), expected.images.size());
    for (size_t i = 0; i < expected.images.size(); ++i) {
      EXPECT_EQ(request->images[i].offset, expected.images[i].offset);
      EXPECT_EQ(request->images[i].num_tokens, expected.images[i].num_tokens);
      EXPECT_EQ(*request->images[i].pixels, expected.images[i].pixels);
    }
  }
}

}  // namespace
}  // namespace longhand::parity
