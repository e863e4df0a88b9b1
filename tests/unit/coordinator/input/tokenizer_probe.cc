// What tools/oracle/fuzz_tokenizer.py drives: a line of JSON in, a line out, for each of the
// tokenizer's directions.
//
//   tokenizer_probe encode DIR    {"text": ...}             -> {"ids": [...]}, as `longhand
//   tokenize` prints them tokenizer_probe plain DIR     {"text": ...}             -> {"ids":
//   [...]}, no control tokens tokenizer_probe decode DIR    {"ids": [...]}            -> {"text",
//   "shown", "deltas"} tokenizer_probe chat DIR      {"messages", "add_vision_id"}  -> {"rendered",
//   "ids"}
#include <boost/json.hpp>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "client/tokenize/tokenize_command.h"
#include "coordinator/input/detokenizer.h"
#include "shim/chat_template.h"
#include "shim/tokenizer.h"

namespace longhand {
namespace {

namespace json = boost::json;
using input::Detokenizer;
using input::SpecialTokens;

json::object Plain(const shim::Tokenizer& tokenizer, const json::object& line) {
  const auto ids = tokenizer.Encode(line.at("text").as_string(), shim::ControlTokens::kPlainText);
  LONGHAND_CHECK(ids.ok()) << ids.status();
  return {{"ids", json::value_from(*ids)}};
}

json::object Decode(const shim::Tokenizer& tokenizer, const json::object& line) {
  const auto ids = json::value_to<std::vector<int32_t>>(line.at("ids"));
  Detokenizer detokenizer(tokenizer, SpecialTokens::kSkip);
  std::vector<std::string> deltas;
  for (const int32_t id : ids) deltas.push_back(detokenizer.Append(id));
  deltas.push_back(detokenizer.Finish());
  return {{"text", Detokenize(tokenizer, ids, SpecialTokens::kKeep)},
          {"shown", Detokenize(tokenizer, ids, SpecialTokens::kSkip)},
          {"deltas", json::value_from(deltas)}};
}

json::object Chat(const shim::Tokenizer& tokenizer,
                  const shim::ChatTemplate& chat_template,
                  json::object line) {
  line["add_generation_prompt"] = true;
  const auto chat = chat_template.Render(json::serialize(line));
  LONGHAND_CHECK(chat.ok()) << chat.status();
  LONGHAND_CHECK(chat->literal_known) << line;
  const auto ids = tokenizer.EncodeAround(chat->text, chat->literal);
  LONGHAND_CHECK(ids.ok()) << ids.status();
  return {{"rendered", chat->text}, {"ids", json::value_from(*ids)}};
}

int Main(const std::string& direction, const std::string& directory) {
  if (direction == "encode") {
    const Status status = client::Tokenize({.model = directory}, std::cin, std::cout);
    if (!status.ok()) std::cerr << status << "\n";
    return status.ok() ? 0 : 1;
  }
  const auto tokenizer = shim::Tokenizer::Load(directory);
  LONGHAND_CHECK(tokenizer.ok()) << tokenizer.status();
  const auto chat_template = shim::ChatTemplate::Load(directory);
  LONGHAND_CHECK(chat_template.ok()) << chat_template.status();
  for (std::string text; std::getline(std::cin, text);) {
    json::object line = json::parse(text).as_object();
    std::cout << (direction == "plain"    ? Plain(*tokenizer, line)
                  : direction == "decode" ? Decode(*tokenizer, line)
                                          : Chat(*tokenizer, *chat_template, std::move(line)))
              << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace longhand

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: tokenizer_probe encode|plain|decode|chat DIR < lines.jsonl\n";
    return 2;
  }
  return longhand::Main(argv[1], argv[2]);
}
