#include "shim/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "tests/testing/temp_directory.h"
#include "tests/testing/tokenizer_data.h"

namespace longhand::shim {
namespace {

namespace json = boost::json;
using ::longhand::testing::LoadTestTokenizer;
using ::longhand::testing::ReadJsonLines;
using ::longhand::testing::TempDirectory;
using ::longhand::testing::Text;
using ::longhand::testing::TokenizerData;
using ::testing::HasSubstr;

std::string InputOf(const json::object& chat) {
  return json::serialize(json::object{{"messages", chat.at("messages")},
                                      {"add_generation_prompt", true},
                                      {"add_vision_id", chat.at("add_vision_id")}});
}

std::string UserSays(std::string_view text) {
  const json::object message{{"role", "user"}, {"content", text}};
  return json::serialize(json::object{{"messages", json::array{message}}});
}

// A template from its source, as chat_template.jinja.
Result<ChatTemplate> FromSource(std::string_view source) {
  const TempDirectory directory;
  directory.Write("chat_template.jinja", source);
  return ChatTemplate::Load(directory.path());
}

Result<RenderedChat> RenderSource(std::string_view source, std::string_view input) {
  const Result<ChatTemplate> chat_template = FromSource(source);
  if (!chat_template.ok()) return chat_template.status();
  return chat_template->Render(input);
}

std::string LiteralText(const RenderedChat& chat) {
  std::string text;
  for (const ByteRange& range : chat.literal) {
    text += "[" + chat.text.substr(range.begin, range.end - range.begin) + "]";
  }
  return text;
}

TEST(ChatTemplate, RecordedChatsRenderAndEncodeAsInTheReference) {
  const Tokenizer tokenizer = LoadTestTokenizer();
  const Result<ChatTemplate> chat_template = ChatTemplate::Load(TokenizerData());
  ASSERT_TRUE(chat_template.ok()) << chat_template.status();
  int num_unsafe = 0;
  for (const auto& line : ReadJsonLines(TokenizerData() / "chats.jsonl")) {
    const Result<RenderedChat> chat = chat_template->Render(InputOf(line));
    ASSERT_TRUE(chat.ok()) << chat.status();
    EXPECT_EQ(chat->text, Text(line.at("rendered")));
    EXPECT_TRUE(chat->literal_known) << line.at("messages");
    const auto ids = tokenizer.EncodeAround(chat->text, chat->literal);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, testing::Ids(line.at("safe_ids"))) << line.at("messages");
    num_unsafe += line.at("ids") != line.at("safe_ids");
  }
  EXPECT_GE(num_unsafe, 3);  // Some messages spell control tokens: otherwise nothing was shown.
}

TEST(ChatTemplate, TextIsKnownThroughTrimming) {
  const Result<RenderedChat> chat =
      RenderSource("<s>{{ messages[0].content | trim }}</s>", UserSays("  a <s> b\n"));
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->text, "<s>a <s> b</s>");
  EXPECT_TRUE(chat->literal_known);
  EXPECT_EQ(LiteralText(*chat), "[a <s> b]");
}

TEST(ChatTemplate, TextThatTheTemplateChangesIsReportedAsUnknown) {
  for (const char* source :
       {"{{ messages[0].content[:3] }}",
        "{{ messages[0].content | upper | replace('B', '') | length }}",
        "{{ messages[0].content.split('b')[1] }}",
        "{% if messages[0].content.startswith('a') %}yes{% else %}no{% endif %}"}) {
    const Result<RenderedChat> chat = RenderSource(source, UserSays("a b c d"));
    ASSERT_TRUE(chat.ok()) << source << ": " << chat.status();
    EXPECT_FALSE(chat->literal_known) << source;
    EXPECT_TRUE(chat->literal.empty()) << source;
  }
}

TEST(ChatTemplate, PythonsStringMethodsWork) {
  const Result<RenderedChat> chat = RenderSource(
      "{{ 'a,b'.split(',')[1].upper() }}{% if messages[0].content.endswith('!') %}?"
      "{% endif %}",
      UserSays("hi"));
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->text, "B");
}

// trim_blocks and lstrip_blocks, which the reference sets.
TEST(ChatTemplate, BlocksLeaveNoWhiteSpace) {
  const Result<RenderedChat> chat =
      RenderSource("  {% for m in messages %}\nx\n  {% endfor %}\ny\n", UserSays("hi"));
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->text, "x\ny");
}

TEST(ChatTemplate, AnotherTemplateOfTheListIsNotTaken) {
  const TempDirectory directory;
  directory.Write("tokenizer_config.json",
                  R"({"eos_token": {"content": "<e>"}, "chat_template": [
                      {"name": "tool_use", "template": "T"},
                      {"name": "default", "template": "D{{ eos_token }}"}]})");
  const Result<ChatTemplate> chat_template = ChatTemplate::Load(directory.path());
  ASSERT_TRUE(chat_template.ok()) << chat_template.status();
  EXPECT_EQ(chat_template->Render(UserSays("hi"))->text, "D<e>");
}

// As transformers 4.57 and 5 choose; 4.49 preferred the jinja file.
TEST(ChatTemplate, JsonFileWinsOverJinjaOverConfig) {
  const TempDirectory directory;
  directory.Write("tokenizer_config.json", R"({"chat_template": "config"})");
  EXPECT_EQ(ChatTemplate::Load(directory.path())->Render("{}")->text, "config");
  directory.Write("chat_template.jinja", "jinja");
  EXPECT_EQ(ChatTemplate::Load(directory.path())->Render("{}")->text, "jinja");
  directory.Write("chat_template.json", R"({"chat_template": "json"})");
  EXPECT_EQ(ChatTemplate::Load(directory.path())->Render("{}")->text, "json");
}

TEST(ChatTemplate, ACheckpointWithoutOneIsRefused) {
  const TempDirectory directory;
  directory.Write("tokenizer_config.json", "{}");
  const Status status = ChatTemplate::Load(directory.path()).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("no chat_template"));
}

TEST(ChatTemplate, ASyntaxErrorNamesFileAndLine) {
  const Status status = FromSource("a\n{% if %}").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("chat_template.jinja: syntax error"));
  EXPECT_THAT(status.message(), HasSubstr("chat_template:2"));
}

TEST(ChatTemplate, ARefusalOfTheTemplateReachesTheCaller) {
  const Status status =
      RenderSource("{{ raise_exception('roles must alternate') }}", UserSays("hi")).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("roles must alternate"));
}

// Text doubled 64 times, loops in loops, calls without end: each ends with a Status, soon.
TEST(ChatTemplate, RunawayTemplatesHitALimit) {
  for (const char* source :
       {"{% set n = namespace(s='xxxxxxxx') %}{% for i in range(64) %}{% set n.s = n.s ~ n.s %}"
        "{% endfor %}{{ n.s }}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{{ 'long text, again and again and again' }}{% endfor %}",
        "{{ 'x' * 99999999999 }}", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}"}) {
    const Result<RenderedChat> chat = RenderSource(source, UserSays("hi"));
    ASSERT_FALSE(chat.ok()) << source;
    EXPECT_THAT(chat.status().message(), HasSubstr("chat template: ")) << source;
  }
}

TEST(ChatTemplate, InputThatIsNotAnObjectIsRefused) {
  const Result<ChatTemplate> chat_template = FromSource("x");
  ASSERT_TRUE(chat_template.ok()) << chat_template.status();
  EXPECT_EQ(chat_template->Render("[]").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(chat_template->Render("").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(chat_template->Render("\"\xff\"").status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace longhand::shim
