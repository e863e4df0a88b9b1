#include "client/tokenize/tokenize_command.h"

#include <boost/json.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shim/tokenizer.h"

namespace longhand::client {
namespace {

namespace json = boost::json;

Result<std::string> TextOf(std::string_view line) {
  json::parse_options options;
  options.allow_invalid_utf8 = true;  // The tokenizer replaces it.
  json::error_code error;
  const json::value value = json::parse(line, error, {}, options);
  if (error) return InvalidArgument("not JSON: ", error.message());
  const json::object* object = value.if_object();
  const json::value* text = object == nullptr ? nullptr : object->if_contains("text");
  if (text == nullptr || !text->is_string()) {
    return InvalidArgument("found ", line.substr(0, 40),
                           ", expected an object like {\"text\": \"...\"}");
  }
  return std::string(text->get_string());
}

void WriteIds(const std::vector<int32_t>& ids, std::ostream& out) {
  std::string line = "{\"ids\":[";
  for (const int32_t id : ids) {
    if (line.back() != '[') line += ',';
    line += std::to_string(id);
  }
  out << line << "]}\n";
}

}  // namespace

Status Tokenize(const TokenizeOptions& options, std::istream& in, std::ostream& out) {
  LONGHAND_ASSIGN_OR_RETURN(const shim::Tokenizer tokenizer, shim::Tokenizer::Load(options.model));
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = "line " + std::to_string(number);
    const Result<std::string> text = TextOf(line);
    if (!text.ok()) return text.status().WithContext(where);
    const Result<std::vector<int32_t>> ids = tokenizer.Encode(*text, shim::ControlTokens::kParse);
    if (!ids.ok()) return ids.status().WithContext(where);
    WriteIds(*ids, out);
  }
  out.flush();
  if (!out) return Unavailable("the token ids cannot be written: the output is closed");
  return OkStatus();
}

}  // namespace longhand::client
