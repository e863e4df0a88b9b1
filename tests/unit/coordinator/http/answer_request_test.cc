#include "coordinator/http/answer_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace longhand::http {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

AnswerRequest Parse(const std::string& fields, Status* status) {
  AnswerRequest request;
  const std::string body = R"({"messages":[{"role":"user","content":"Hi"}])" +
                           (fields.empty() ? "" : "," + fields) + "}";
  *status = ParseChatRequest(boost::json::parse(body).as_object(), &request);
  return request;
}

TEST(AnswerRequest, FieldsFindTheirPlaces) {
  Status status;
  const AnswerRequest request = Parse(
      R"("model":"m","stream":true,"stream_options":{"include_usage":true},"max_completion_tokens":9,
         "temperature":0.5,"top_p":1,"top_k":-1,"min_p":0.25,"seed":18446744073709551615,"n":2.0,
         "stop":["a","b"],"stop_token_ids":[3],"min_tokens":1,"presence_penalty":1,"frequency_penalty":-1,
         "repetition_penalty":1.5,"ignore_eos":true,"logprobs":true,"top_logprobs":4,"return_token_ids":true,
         "request_id":"r","on_disconnect":"continue","priority":-3,"cache_salt":"team","user":"u","unknown":[1],
         "target_words":500,"repetition_guard":true)",
      &status);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(request.stream);
  EXPECT_TRUE(request.form.include_usage());
  const v1::Sampling& sampling = request.wire.sampling();
  EXPECT_EQ(sampling.max_tokens(), 9);
  EXPECT_EQ(sampling.temperature(), 0.5f);
  EXPECT_EQ(sampling.top_k(), 0);
  EXPECT_EQ(sampling.seed(), 18446744073709551615u);
  EXPECT_EQ(sampling.n(), 2u);
  EXPECT_THAT(sampling.stop(), ElementsAre("a", "b"));
  EXPECT_THAT(sampling.stop_token_ids(), ElementsAre(3));
  EXPECT_TRUE(sampling.ignore_eos());
  EXPECT_TRUE(sampling.repetition_guard());
  EXPECT_EQ(request.wire.length().target_words(), 500);
  EXPECT_EQ(request.wire.return_().logprobs(), 4);
  EXPECT_TRUE(request.wire.return_().token_ids());
  EXPECT_TRUE(request.wire.return_().prompt_token_ids());
  EXPECT_EQ(request.wire.request_id(), "r");
  EXPECT_EQ(request.wire.on_disconnect(), v1::ON_DISCONNECT_CONTINUE);
  EXPECT_EQ(request.wire.priority(), -3);
  EXPECT_EQ(request.wire.cache_salt(), "team");
  EXPECT_EQ(request.wire.messages().messages(0).content(0).text(), "Hi");
}

TEST(AnswerRequest, BiasesAreOfTokensByTheirIds) {
  Status status;
  const AnswerRequest request = Parse(R"("logit_bias":{"0":-100,"151643":0.5,"7":3})", &status);
  ASSERT_TRUE(status.ok()) << status;
  const auto& biases = request.wire.sampling().logit_bias();
  ASSERT_EQ(biases.size(), 3u);
  EXPECT_EQ(biases.at(0), -100);
  EXPECT_EQ(biases.at(151643), 0.5f);
  EXPECT_EQ(biases.at(7), 3);
  for (const char* nothing : {R"("logit_bias":{})", R"("logit_bias":null)"}) {
    EXPECT_EQ(Parse(nothing, &status).wire.sampling().logit_bias_size(), 0);
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(AnswerRequest, WrongBiasesAreNamed) {
  const auto refusal = [](const std::string& biases) {
    Status status;
    Parse("\"logit_bias\":" + biases, &status);
    EXPECT_EQ(status.about(), "logit_bias") << biases;
    return status.message();
  };
  EXPECT_EQ(refusal("[5]"), "logit_bias is a list; it must be an object");
  for (const char* key : {"", "x", "05", "+5", "5.0", " 5", "-0", "99999999999", "5a"}) {
    EXPECT_EQ(refusal("{\"" + std::string(key) + "\":1}"),
              "logit_bias has the key '" + std::string(key) + "'; keys must be token ids");
  }
  EXPECT_EQ(refusal(R"({"5":"1"})"), "logit_bias of token 5 is '1'; it must be a number");
  EXPECT_EQ(refusal(R"({"5":null})"), "logit_bias of token 5 is null; it must be a number");
}

v1::Constraint ConstraintOf(const std::string& fields) {
  Status status;
  AnswerRequest request = Parse(fields, &status);
  EXPECT_TRUE(status.ok()) << fields << ": " << status;
  return request.wire.constraint();
}

TEST(AnswerRequest, FormsOfTheAnswerHaveSeveralNames) {
  EXPECT_EQ(ConstraintOf(R"("response_format":{"type":"text"})").form_case(),
            v1::Constraint::FORM_NOT_SET);
  EXPECT_EQ(ConstraintOf(R"("structured_outputs":{"json":null},"guided_json":"","guided_regex":"")")
                .form_case(),
            v1::Constraint::FORM_NOT_SET);
  EXPECT_TRUE(ConstraintOf(R"("response_format":{"type":"json_object"})").json_object());
  EXPECT_TRUE(ConstraintOf(R"("structured_outputs":{"json_object":true})").json_object());
  // In the order in which the client wrote it.
  EXPECT_EQ(ConstraintOf(R"("response_format":{"type":"json_schema","json_schema":
                {"name":"n","strict":true,"schema":{"type":"object","b":1,"a":2}}})")
                .json_schema(),
            R"({"type":"object","b":1,"a":2})");
  EXPECT_EQ(ConstraintOf(R"("guided_json":"{}")").json_schema(), "{}");
  EXPECT_EQ(ConstraintOf(R"("structured_outputs":{"json":{}})").json_schema(), "{}");
  EXPECT_EQ(ConstraintOf(R"("guided_regex":"a+")").regex(), "a+");
  EXPECT_EQ(ConstraintOf(R"("structured_outputs":{"grammar":"start: x"})").grammar(), "start: x");
  EXPECT_THAT(ConstraintOf(R"("guided_choice":["a","b"])").choice().texts(), ElementsAre("a", "b"));
}

TEST(AnswerRequest, AnAnswerHasOneForm) {
  Status status;
  (void)Parse(R"("guided_json":{},"structured_outputs":{"regex":"a"})", &status);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("asks for 2 forms"));
}

TEST(AnswerRequest, AFaultOfAFormNamesTheFieldThatAskedForIt) {
  const auto field_of = [](const std::string& fields) {
    Status status;
    const AnswerRequest request = Parse(fields, &status);
    return OfField(request.constraint_field, InvalidArgument("no form").About("constraint"))
        .about();
  };
  EXPECT_EQ(field_of(R"("response_format":{"type":"json_object"})"), "response_format");
  EXPECT_EQ(field_of(R"("response_format":{"type":"text"},"structured_outputs":{"regex":"a"})"),
            "structured_outputs");
  EXPECT_EQ(field_of(R"("guided_json":"{}")"), "guided_json");
  EXPECT_EQ(field_of(R"("guided_regex":"a")"), "guided_regex");
  EXPECT_EQ(field_of(R"("guided_choice":["a"])"), "guided_choice");
  EXPECT_EQ(field_of(R"("guided_grammar":"start: x")"), "guided_grammar");
  EXPECT_EQ(field_of(R"("guided_json_object":true)"), "guided_json_object");
}

TEST(AnswerRequest, WhatIsNotThereIsLeftToTheCheckpoint) {
  Status status;
  const AnswerRequest request =
      Parse(R"("temperature":null,"seed":null,"tools":[],"logprobs":false)", &status);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_FALSE(request.wire.sampling().has_temperature());
  EXPECT_FALSE(request.wire.sampling().has_seed());
  EXPECT_FALSE(request.wire.sampling().has_repetition_guard());
  EXPECT_FALSE(request.wire.has_length());
  EXPECT_FALSE(request.wire.return_().has_logprobs());
}

TEST(AnswerRequest, UsageSoFarNeedsIdsThatItsClientDidNotAskFor) {
  Status status;
  const std::string stream = R"("stream":true,"stream_options":)";
  AnswerRequest request =
      Parse(stream + R"({"include_usage":true,"continuous_usage_stats":true})", &status);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(request.form.continuous_usage());
  EXPECT_TRUE(request.wire.return_().token_ids() && request.wire.return_().prompt_token_ids());
  EXPECT_TRUE(request.form.hides_token_ids() && request.form.hides_prompt_token_ids());
  request = Parse(
      stream + R"({"include_usage":true,"continuous_usage_stats":true},"return_token_ids":true)",
      &status);
  EXPECT_FALSE(request.form.hides_token_ids() || request.form.hides_prompt_token_ids());
  request = Parse(stream + R"({"continuous_usage_stats":true})", &status);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_FALSE(request.form.continuous_usage() || request.wire.return_().token_ids());
}

TEST(AnswerRequest, AFaultNamesTheParameterAndWhatWasSeen) {
  Status status;
  Parse(R"("n":17)", &status);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.about(), "n");
  EXPECT_EQ(status, InvalidField("n", " is 17; it must be a whole number from 1 to 16"));
  Parse(R"("top_p":")" + std::string(500, 'x') + R"(")", &status);
  EXPECT_LT(status.message().size(), 150u);
  Parse(R"("target_words":1000001)", &status);
  EXPECT_EQ(status.about(), "target_words");
  Parse(R"("max_tokens":0)", &status);
  EXPECT_EQ(status, InvalidField("max_tokens", " is 0; it must be a whole number of at least 1"));
  Parse(R"("max_tokens":5,"max_completion_tokens":6)", &status);
  EXPECT_EQ(status.about(), "max_tokens");
}

TEST(AnswerRequest, ASeedIsAnyNumberOf64Bits) {
  Status status;
  EXPECT_EQ(Parse(R"("seed":-2)", &status).wire.sampling().seed(), 18446744073709551614u);
  EXPECT_FALSE(Parse(R"("seed":-1)", &status).wire.sampling().has_seed());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Parse(R"("seed":1e18)", &status).wire.sampling().seed(), 1000000000000000000u);
  ASSERT_TRUE(status.ok()) << status;
  Parse(R"("seed":0.5)", &status);
  EXPECT_EQ(status.about(), "seed");
}

TEST(AnswerRequest, AnswersComeBackAsClientsKeepThem) {
  const auto parse = [](const std::string& answer) {
    AnswerRequest request;
    return ParseChatRequest(
        boost::json::parse(R"({"tool_choice":"auto","function_call":"none","messages":[
            {"role":"user","content":"Hi"},{"role":"assistant","content":"Ho",)" +
                           answer + "}]}")
            .as_object(),
        &request);
  };
  EXPECT_TRUE(
      parse(R"("tool_calls":[],"function_call":null,"refusal":null,"annotations":[])").ok());
  for (const char* call : {R"("tool_calls":[{"id":"a"}])", R"("function_call":{"name":"f"})"}) {
    const Status status = parse(call);
    ASSERT_FALSE(status.ok()) << call;
    EXPECT_THAT(status.message(), HasSubstr("message 1: "));
    EXPECT_THAT(status.message(), HasSubstr("the model calls no tools"));
  }
}

TEST(AnswerRequest, WhatChangesAnAnswerElsewhereIsNotPassedOver) {
  for (const char* field :
       {R"("use_beam_search":true)", R"("bad_words":["a"])", R"("allowed_token_ids":[1])",
        R"("truncate_prompt_tokens":5)", R"("include_stop_str_in_output":true)",
        R"("mm_processor_kwargs":{"min_pixels":1})", R"("documents":[{}])",
        R"("add_generation_prompt":false)", R"("skip_special_tokens":false)",
        R"("chat_template_kwargs":{"enable_thinking":true})", R"("tool_choice":"required")",
        R"("tool_choice":{"type":"function","function":{"name":"f"}})",
        R"("function_call":{"name":"f"})"}) {
    Status status;
    Parse(field, &status);
    ASSERT_FALSE(status.ok()) << field;
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(field, HasSubstr('"' + status.about() + '"'));
  }
  Status status;
  Parse(R"("use_beam_search":false,"bad_words":[],"add_generation_prompt":true,
           "skip_special_tokens":true,"chat_template_kwargs":{})",
        &status);
  EXPECT_TRUE(status.ok()) << status;
}

TEST(AnswerRequest, TheTemplatesOneArgumentIsTaken) {
  Status status;
  const AnswerRequest request = Parse(R"("chat_template_kwargs":{"add_vision_id":true})", &status);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(request.wire.messages().add_vision_id());
  EXPECT_EQ(request.wire.messages().messages_size(), 1);
}

TEST(AnswerRequest, PicturesAreDataOrElsewhere) {
  AnswerRequest request;
  const auto messages = boost::json::parse(
      R"([{"role":"developer","content":[{"type":"image_url","image_url":{"url":"DATA:image/png;charset=x;BASE64,aGk="}},
          {"type":"text","text":"and"},{"type":"image_url","image_url":"https://a.example/b.png"}]}])");
  const Status status = ParseMessages(messages, &request);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(request.wire.messages().messages(0).role(), "system");
  EXPECT_TRUE(request.wire.messages().messages(0).content(0).has_image());
  EXPECT_EQ(request.wire.images(0).data(), "hi");
  EXPECT_THAT(request.image_urls,
              ElementsAre(std::pair(1, std::string("https://a.example/b.png"))));
}

Status ParseCompletion(const std::string& fields, AnswerRequest* request) {
  return ParseCompletionRequest(boost::json::parse("{" + fields + "}").as_object(), request);
}

TEST(AnswerRequest, APromptIsATextOrTokenIdsOrSeveralOfThem) {
  AnswerRequest text, ids, texts, lists;
  EXPECT_TRUE(ParseCompletion(R"("prompt":["Hi"])", &text).ok());
  EXPECT_EQ(text.wire.text(), "Hi");
  EXPECT_TRUE(text.further.empty());
  EXPECT_TRUE(ParseCompletion(R"("prompt":[[1,2]])", &ids).ok());
  EXPECT_THAT(ids.wire.token_ids().ids(), ElementsAre(1, 2));
  EXPECT_TRUE(ParseCompletion(R"("prompt":["a","b","c"],"max_tokens":7)", &texts).ok());
  EXPECT_EQ(texts.wire.text(), "a");
  ASSERT_EQ(texts.further.size(), 2u);
  EXPECT_EQ(texts.further[1].text(), "c");
  EXPECT_EQ(texts.further[1].sampling().max_tokens(), 7);
  EXPECT_TRUE(ParseCompletion(R"("prompt":[[1],[2,3]])", &lists).ok());
  EXPECT_THAT(lists.further.at(0).token_ids().ids(), ElementsAre(2, 3));
}

TEST(AnswerRequest, APromptThatIsWrongIsNamed) {
  std::string many = R"("n":2,"prompt":["a")";
  for (int i = 0; i < 128; ++i) many += R"(,"a")";
  for (const auto& [fields, param, message] : std::vector<std::array<std::string, 3>>{
           {R"("prompt":[])", "prompt", "a string, a list of token ids, or a list of either"},
           {R"("prompt":{})", "prompt", "a string, a list of token ids, or a list of either"},
           {R"("prompt":["a",[1]])", "prompt", "prompt 1 is a list; all must be strings, or all"},
           {R"("prompt":["a",5])", "prompt", "prompt 1 is 5; all must be"},
           {R"("prompt":[[1],[]])", "prompt", "prompt 1 is a list; all must be"},
           {many + "]", "prompt", "129 prompts and n is 2; together at most 256 answers"},
           {R"("prompt":["a","b"],"request_id":"x")", "request_id",
            "request_id is set, and prompt has 2 prompts"},
           {R"("prompt":["a","b"],"on_disconnect":"continue")", "on_disconnect",
            "on_disconnect is set, and prompt has 2 prompts"}}) {
    AnswerRequest request;
    const Status status = ParseCompletion(fields, &request);
    ASSERT_FALSE(status.ok()) << fields;
    EXPECT_EQ(status.about(), param);
    EXPECT_THAT(status.message(), HasSubstr(message));
  }
}

TEST(AnswerRequest, AnEchoAsksForThePrompt) {
  AnswerRequest plain, scored, both;
  EXPECT_TRUE(ParseCompletion(R"("prompt":"a","echo":true,"n":3,"max_tokens":0)", &plain).ok());
  EXPECT_EQ(plain.form.num_echoes(), 3u);
  EXPECT_FALSE(plain.wire.return_().prompt_logprobs() || plain.form.echoes_logprobs());
  EXPECT_TRUE(plain.wire.return_().prompt_token_ids() && plain.form.hides_prompt_token_ids());
  EXPECT_EQ(plain.wire.sampling().max_tokens(), 0);
  EXPECT_TRUE(ParseCompletion(R"("prompt":"a","echo":true,"logprobs":2)", &scored).ok());
  EXPECT_TRUE(scored.wire.return_().prompt_logprobs() && scored.form.echoes_logprobs());
  EXPECT_EQ(scored.wire.return_().top_prompt_logprobs(), 2);
  EXPECT_FALSE(scored.form.has_prompt_logprobs());
  EXPECT_TRUE(
      ParseCompletion(
          R"("prompt":"a","echo":true,"logprobs":2,"prompt_logprobs":2,"prompt_token_ids":true)",
          &both)
          .ok());
  EXPECT_TRUE(both.form.has_prompt_logprobs() && both.form.echoes_logprobs());
  EXPECT_FALSE(both.form.hides_prompt_token_ids());
}

TEST(AnswerRequest, WhatDoesNotGoWithAnEchoIsNamed) {
  for (const auto& [fields, param] : std::vector<std::array<std::string, 2>>{
           {R"("max_tokens":0)", "max_tokens"},
           {R"("echo":"yes")", "echo"},
           {R"("prompt_logprobs":21)", "prompt_logprobs"},
           {R"("prompt_logprobs":-1)", "prompt_logprobs"},
           {R"("prompt_logprobs":1,"stream":true)", "prompt_logprobs"},
           {R"("echo":true,"logprobs":2,"prompt_logprobs":3)", "prompt_logprobs"}}) {
    AnswerRequest request;
    const Status status = ParseCompletion(R"("prompt":"a",)" + fields, &request);
    ASSERT_FALSE(status.ok()) << fields;
    EXPECT_EQ(status.about(), param) << status;
  }
  Status status;
  Parse(R"("echo":true)", &status);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.about(), "echo");
  Parse(R"("prompt_logprobs":3)", &status);
  EXPECT_TRUE(status.ok()) << status;
}

TEST(AnswerRequest, AnAssistantMayHaveSaidNothing) {
  AnswerRequest request;
  const Status status = ParseMessages(
      boost::json::parse(R"([{"role":"assistant","content":null},{"role":"assistant"}])"),
      &request);
  ASSERT_TRUE(status.ok()) << status;
  for (const v1::ChatMessage& message : request.wire.messages().messages()) {
    ASSERT_EQ(message.content_size(), 1);
    EXPECT_EQ(message.content(0).text(), "");
  }
  EXPECT_FALSE(
      ParseMessages(boost::json::parse(R"([{"role":"user","content":null}])"), &request).ok());
}

AnswerRequest ParseDocument(const std::string& body, Status* status) {
  AnswerRequest request;
  *status = ParseDocumentRequest(boost::json::parse(body).as_object(), &request);
  return request;
}

TEST(DocumentRequest, FieldsFindTheirPlaces) {
  Status status;
  AnswerRequest request = ParseDocument(
      R"({"instruction":"Write.","images":["data:image/png;base64,YQ==",{"url":"https://a/b.png"}],
          "plan":"Section 1","target_words":500,"repetition_guard":false,"model":"m","stream":true,"n":1,"seed":7,"temperature":0.5,"max_tokens":9,
          "request_id":"r","on_disconnect":"continue","priority":-3,"cache_salt":"team"})",
      &status);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(request.stream);
  EXPECT_EQ(request.form.kind(), journal::v1::AnswerForm::KIND_DOCUMENT);
  ASSERT_EQ(request.image_urls.size(), 1u);
  request.wire.mutable_images(request.image_urls[0].first)->set_data("b");
  const v1::WriteDocumentRequest document = TakeDocument(request);
  EXPECT_EQ(document.instruction(), "Write.");
  EXPECT_EQ(document.plan(), "Section 1");
  EXPECT_EQ(document.model(), "m");
  ASSERT_EQ(document.images_size(), 2);
  EXPECT_EQ(document.images(0).data(), "a");
  EXPECT_EQ(document.images(1).data(), "b");
  EXPECT_EQ(document.sampling().seed(), 7u);
  EXPECT_EQ(document.sampling().max_tokens(), 9);
  EXPECT_EQ(document.request_id(), "r");
  EXPECT_EQ(document.on_disconnect(), v1::ON_DISCONNECT_CONTINUE);
  EXPECT_EQ(document.priority(), -3);
  EXPECT_EQ(document.cache_salt(), "team");
  EXPECT_EQ(document.length().target_words(), 500);
  EXPECT_TRUE(document.sampling().has_repetition_guard());
  EXPECT_FALSE(document.sampling().repetition_guard());
}

TEST(DocumentRequest, OneMessageOfAUserIsAnInstructionToo) {
  Status status;
  AnswerRequest request = ParseDocument(
      R"({"messages":[{"role":"user","content":[{"type":"text","text":"Write "},
          {"type":"image_url","image_url":{"url":"data:image/png;base64,YQ=="}},
          {"type":"text","text":"it."}]}]})",
      &status);
  ASSERT_TRUE(status.ok()) << status;
  const v1::WriteDocumentRequest document = TakeDocument(request);
  EXPECT_EQ(document.instruction(), "Write it.");
  ASSERT_EQ(document.images_size(), 1);
  EXPECT_EQ(document.images(0).data(), "a");
}

TEST(DocumentRequest, AFaultNamesTheParameter) {
  const auto param_of = [](const std::string& fields) {
    Status status;
    ParseDocument("{" + fields + "}", &status);
    return status.ok() ? "none" : status.about();
  };
  EXPECT_EQ(param_of(R"("plan":"Section 1")"), "instruction");
  EXPECT_EQ(param_of(R"("instruction":5)"), "instruction");
  EXPECT_EQ(param_of(R"("instruction":"Write.","messages":[])"), "messages");
  EXPECT_EQ(param_of(R"("messages":[{"role":"system","content":"Write."}])"), "messages");
  EXPECT_EQ(param_of(R"("messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}])"),
            "messages");
  Status status;
  ParseDocument(R"({"instruction":"Write.","n":2})", &status);
  EXPECT_EQ(status, InvalidField("n", " is 2; it must be 1"));
  ParseDocument(R"({"instruction":"Write.","target_words":0})", &status);
  EXPECT_THAT(status.message(), HasSubstr("from 1 to 640000"));
  for (const char* field :
       {R"("n":2)", R"("stop":["a"])", R"("stop_token_ids":[1])", R"("min_tokens":1)",
        R"("ignore_eos":true)", R"("logprobs":true)", R"("return_token_ids":true)",
        R"("stream_options":{"include_usage":true})", R"("images":"a")", R"("images":[5])",
        R"("plan":5)"}) {
    const std::string name = std::string(field).substr(1, std::string(field).find('"', 1) - 1);
    EXPECT_EQ(param_of(R"("instruction":"Write.",)" + std::string(field)), name);
  }
}

}  // namespace
}  // namespace longhand::http
