#include "tests/e2e/random_requests.h"

#include <cstdlib>
#include <iterator>
#include <map>
#include <random>
#include <utility>

#include "tests/e2e/requests.h"
#include "tests/parity/recording.h"

namespace longhand::e2e {
namespace {

// Of 4 to 30 tokens each.
const char* const kPictures[] = {"rgb_112.png",    "tiny_3x5.png",    "chroma_155x133.jpg",
                                 "gray_64x96.png", "tall_20x500.png", "exif6_120x80.jpg"};
const char* const kWords[] = {"river", "stone ", "harbour", "。", "石头", "é", "winter",  "1844",
                              "the",   " of ",   "and",     "\n", "🙂",   "?", "Picture", "long"};
const char* const kOpenings[] = {
    "Write a report about the following, in five sections, for readers "
    "who know nothing of it: ",
    "Continue: ", "请写一篇文章：", ""};

class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(seed) {}

  v1::GenerateRequest Make() {
    v1::GenerateRequest request;
    const int num_pictures = Chance(0.35) ? Between(1, 2) : 0;
    for (int i = 0; i < num_pictures; ++i) {
      const std::string file = kPictures[Between(0, std::size(kPictures) - 1)];
      request.add_images()->set_data(ReadBytes(parity::TestRecording().ImagePath(file).string()));
    }
    SetInput(num_pictures, &request);
    SetSampling(request.mutable_sampling());
    if (Chance(0.2)) request.mutable_length()->set_target_words(Between(1, 60));
    v1::Return* wanted = request.mutable_return_();
    wanted->set_token_ids(true);
    wanted->set_prompt_token_ids(Chance(0.2));
    wanted->set_prompt_logprobs(Chance(0.15));
    if (Chance(0.3)) wanted->set_logprobs(Between(0, 4));
    request.set_priority(Between(-2, 2));
    if (Chance(0.3)) request.set_cache_salt("tenant-" + std::to_string(Between(1, 2)));
    return request;
  }

  // Some that end soon, some that may go on for ever.
  void SetConstraint(v1::Constraint* constraint) {
    switch (Between(0, 4)) {
      case 0:
        return constraint->set_json_object(true);
      case 1:
        return constraint->set_json_schema(
            R"({"type": "object", "properties": {"title": {"type": "string", "maxLength": 12},
                "years": {"type": "array", "items": {"type": "integer"}, "minItems": 2}},
                "required": ["title", "years"], "additionalProperties": false})");
      case 2:
        return constraint->set_regex("([a-z]+, )*[0-9]{1,40}\\.");
      case 3:
        for (const char* text : {"river", "riverside", "石头 and stone"})
          constraint->mutable_choice()->add_texts(text);
        return;
      default:
        return constraint->set_grammar("start: \"(\" start* \")\" | /[a-zé]{2,9}/\n");
    }
  }

 private:
  int Between(int64_t low, int64_t high) {
    return static_cast<int>(std::uniform_int_distribution<int64_t>(low, high)(random_));
  }
  float Real(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(random_);
  }
  bool Chance(double probability) { return std::bernoulli_distribution(probability)(random_); }

  std::string Text() {
    std::string text = kOpenings[Between(0, std::size(kOpenings) - 1)];
    for (int n = Between(1, Chance(0.3) ? 90 : 12); n > 0; --n)
      text += std::string(kWords[Between(0, std::size(kWords) - 1)]) + (Chance(0.7) ? " " : "");
    return text;
  }

  void SetInput(int num_pictures, v1::GenerateRequest* request) {
    if (num_pictures == 0 && Chance(0.2)) return request->set_text(Text());
    if (num_pictures == 0 && Chance(0.15)) {
      for (int n = Between(1, 60); n > 0; --n)
        request->mutable_token_ids()->add_ids(Between(0, 400));
      return;
    }
    if (Chance(0.3)) {
      v1::ChatMessage* system = request->mutable_messages()->add_messages();
      system->set_role("system");
      system->add_content()->set_text("You write at length.");
    }
    v1::ChatMessage* user = request->mutable_messages()->add_messages();
    user->set_role("user");
    for (int i = 0; i < num_pictures; ++i) {
      if (Chance(0.5)) user->add_content()->set_text(Text());
      user->add_content()->mutable_image();
    }
    user->add_content()->set_text(Text());
  }

  void SetSampling(v1::Sampling* sampling) {
    const int max_tokens = Between(1, Chance(0.4) ? kMaxRandomTokens : 24);
    sampling->set_max_tokens(max_tokens);
    sampling->set_seed(random_());
    sampling->set_temperature(Chance(0.25) ? 0 : Real(0.2f, 1.6f));
    if (Chance(0.5)) sampling->set_top_p(Real(0.3f, 1));
    if (Chance(0.4)) sampling->set_top_k(Between(0, 60));
    if (Chance(0.3)) sampling->set_min_p(Real(0, 0.3f));
    if (Chance(0.4)) sampling->set_repetition_penalty(Real(0.9f, 1.4f));
    if (Chance(0.3)) sampling->set_presence_penalty(Real(-1, 1));
    if (Chance(0.3)) sampling->set_frequency_penalty(Real(-1, 1));
    if (Chance(0.3)) sampling->set_min_tokens(Between(0, max_tokens));
    sampling->set_ignore_eos(Chance(0.5));
    if (Chance(0.3)) sampling->set_repetition_guard(true);
    if (Chance(0.2)) sampling->set_n(Between(2, 3));
    for (int n = Chance(0.4) ? Between(1, 3) : 0; n > 0; --n)
      sampling->add_stop(std::string(1, static_cast<char>('a' + Between(0, 25))) +
                         static_cast<char>('a' + Between(0, 25)));
    if (Chance(0.2)) sampling->add_stop_token_ids(Between(0, 1000));
    for (int n = Chance(0.3) ? Between(1, 40) : 0; n > 0; --n)
      (*sampling->mutable_logit_bias())[Between(0, 900)] = Real(-5, 5);
  }

  std::mt19937_64 random_;
};

}  // namespace

uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

std::vector<v1::GenerateRequest> RandomRequests(uint64_t seed, int count) {
  Maker maker(seed);
  std::vector<v1::GenerateRequest> requests;
  for (int i = 0; i < count; ++i) requests.push_back(maker.Make());
  for (int i = 0; i < count; i += 3) {
    v1::GenerateRequest constrained = requests[static_cast<size_t>(i)];
    constrained.clear_length();
    maker.SetConstraint(constrained.mutable_constraint());
    requests.push_back(std::move(constrained));
  }
  return requests;
}

std::vector<v1::WriteDocumentRequest> RandomDocuments(uint64_t seed, int count) {
  std::mt19937_64 random(seed);
  std::vector<v1::WriteDocumentRequest> documents(static_cast<size_t>(count));
  for (v1::WriteDocumentRequest& document : documents) {
    document.set_instruction("Write about number " + std::to_string(random() % 100));
    document.set_plan(
        "Section 1 - Main Point: the mill - Word Count: 20\n"
        "Section 2 - Main Point: the town - Word Count: 30\n"
        "Section 3 - Main Point: the sea - Word Count: 10");
    document.mutable_sampling()->set_temperature(1);
    document.mutable_sampling()->set_seed(random());
    document.mutable_sampling()->set_max_tokens(60);
    if (random() % 2 == 0) document.mutable_length()->set_target_words(30);
    if (random() % 3 == 0) {
      const std::string file = parity::TestRecording().ImagePath(kPictures[0]).string();
      document.add_images()->set_data(ReadBytes(file));
    }
  }
  return documents;
}

std::string Contents(const Answer& answer) {
  std::map<uint32_t, v1::GenerateEvent> choices;
  v1::GenerateEvent whole;
  for (v1::GenerateEvent event : answer.events) {
    if (event.has_usage()) event.mutable_usage()->clear_cached_tokens();
    whole.mutable_prompt_logprobs()->MergeFrom(event.prompt_logprobs());
    whole.mutable_prompt_token_ids()->MergeFrom(event.prompt_token_ids());
    if (event.has_usage()) *whole.mutable_usage() = event.usage();
    v1::GenerateEvent& choice = choices[event.choice()];
    *choice.mutable_text() += event.text();
    choice.mutable_token_ids()->MergeFrom(event.token_ids());
    choice.mutable_logprobs()->MergeFrom(event.logprobs());
    if (event.finish_reason() == v1::FINISH_REASON_UNSPECIFIED) continue;
    choice.set_finish_reason(event.finish_reason());
    choice.set_finish_detail(event.finish_detail());
    if (event.has_length()) *choice.mutable_length() = event.length();
  }
  std::string contents = whole.ShortDebugString();
  for (const auto& [number, choice] : choices)
    contents += "\n" + std::to_string(number) + ": " + choice.ShortDebugString();
  return contents;
}

}  // namespace longhand::e2e
