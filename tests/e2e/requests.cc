#include "tests/e2e/requests.h"

#include <boost/json.hpp>
#include <fstream>
#include <iterator>

#include "common/check.h"

namespace longhand::e2e {
namespace {

void SetGreedy(int64_t max_tokens, v1::GenerateRequest* request) {
  v1::Sampling* sampling = request->mutable_sampling();
  sampling->set_temperature(0);
  sampling->set_repetition_penalty(1);
  sampling->set_top_k(0);
  sampling->set_ignore_eos(true);
  sampling->set_max_tokens(max_tokens);
  request->mutable_return_()->set_token_ids(true);
}

}  // namespace

std::string ReadBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  LONGHAND_CHECK(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

v1::GenerateRequest RecordedRequest(const parity::Recording& recording,
                                    const std::string& case_name,
                                    int64_t max_tokens) {
  v1::GenerateRequest request;
  for (const boost::json::value& value : recording.Case(case_name).at("messages").as_array()) {
    const boost::json::object& from = value.as_object();
    v1::ChatMessage* message = request.mutable_messages()->add_messages();
    message->set_role(std::string(from.at("role").as_string()));
    if (from.at("content").is_string()) {
      message->add_content()->set_text(std::string(from.at("content").as_string()));
      continue;
    }
    for (const boost::json::value& part : from.at("content").as_array()) {
      const bool is_image = part.as_object().at("type").as_string() == "image_url";
      v1::ContentPart* out = message->add_content();
      if (is_image) {
        out->mutable_image();
      } else {
        out->set_text(std::string(part.as_object().at("text").as_string()));
      }
    }
  }
  for (const std::string& file : recording.CaseImages(case_name)) {
    request.add_images()->set_data(ReadBytes(recording.ImagePath(file).string()));
  }
  SetGreedy(max_tokens, &request);
  return request;
}

v1::GenerateRequest TextRequest(const std::string& text, int64_t max_tokens) {
  v1::GenerateRequest request;
  v1::ChatMessage* message = request.mutable_messages()->add_messages();
  message->set_role("user");
  message->add_content()->set_text(text);
  SetGreedy(max_tokens, &request);
  return request;
}

}  // namespace longhand::e2e
