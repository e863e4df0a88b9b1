#include "client/eval/lenient_json.h"

#include <absl/strings/numbers.h>

#include <cctype>
#include <optional>
#include <string>

namespace longhand::client {
namespace {

namespace json = boost::json;

constexpr int kMaxDepth = 32;

void AppendUtf8(uint32_t code, std::string* out) {
  if (code >= 0xD800 && code < 0xE000) code = 0xFFFD;
  if (code < 0x80) {
    *out += static_cast<char>(code);
  } else if (code < 0x800) {
    *out += static_cast<char>(0xC0 | (code >> 6));
    *out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    *out += static_cast<char>(0xE0 | (code >> 12));
    *out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    *out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    *out += static_cast<char>(0xF0 | (code >> 18));
    *out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    *out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    *out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  // The one value that the text is.
  std::optional<json::value> Whole() {
    std::optional<json::value> value = Value(0);
    SkipSpace();
    return value && at_ == text_.size() ? value : std::nullopt;
  }
  size_t at() const { return at_; }

 private:
  bool Take(std::string_view what) {
    if (text_.substr(at_, what.size()) != what) return false;
    at_ += what.size();
    return true;
  }

  void SkipSpace() {
    while (at_ < text_.size()) {
      if (std::isspace(static_cast<unsigned char>(text_[at_])) != 0) {
        ++at_;
      } else if (text_.substr(at_, 2) == "//") {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (text_.substr(at_, 2) == "/*") {
        const size_t end = text_.find("*/", at_ + 2);
        at_ = end == std::string_view::npos ? text_.size() : end + 2;
      } else {
        return;
      }
    }
  }

  std::optional<json::value> Value(int depth) {
    SkipSpace();
    if (at_ == text_.size() || depth > kMaxDepth) return std::nullopt;
    const char first = text_[at_];
    if (first == '{') return Object(depth);
    if (first == '[') return Array(depth);
    if (first == '"' || first == '\'') {
      std::optional<std::string> text = String();
      return text ? std::optional<json::value>(json::string(*text)) : std::nullopt;
    }
    return Word();
  }

  std::optional<json::value> Object(int depth) {
    ++at_;
    json::object object;
    while (true) {
      SkipSpace();
      if (Take("}")) return object;
      std::optional<std::string> key = Key();
      SkipSpace();
      if (!key || !Take(":")) return std::nullopt;
      std::optional<json::value> value = Value(depth + 1);
      if (!value) return std::nullopt;
      object[*key] = std::move(*value);
      SkipSpace();
      if (!Take(",") && text_.substr(at_, 1) != "}") return std::nullopt;
    }
  }

  std::optional<json::value> Array(int depth) {
    ++at_;
    json::array array;
    while (true) {
      SkipSpace();
      if (Take("]")) return array;
      std::optional<json::value> value = Value(depth + 1);
      if (!value) return std::nullopt;
      array.push_back(std::move(*value));
      SkipSpace();
      if (!Take(",") && text_.substr(at_, 1) != "]") return std::nullopt;
    }
  }

  std::optional<std::string> Key() {
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) return String();
    const size_t end = text_.find_first_of(":,{}[]\"'\n", at_);
    if (end == std::string_view::npos || text_[end] != ':') return std::nullopt;
    std::string_view key = text_.substr(at_, end - at_);
    key = key.substr(0, key.find_last_not_of(" \t\r") + 1);
    at_ = end;
    return key.empty() ? std::nullopt : std::optional<std::string>(key);
  }

  std::optional<std::string> String() {
    const char quote = text_[at_++];
    std::string out;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == quote) return out;
      if (c != '\\') {
        out += c;
      } else if (!Escape(&out)) {
        return std::nullopt;
      }
    }
    return std::nullopt;
  }

  bool Escape(std::string* out) {
    if (at_ == text_.size()) return false;
    const char c = text_[at_++];
    switch (c) {
      case 'n':
        *out += '\n';
        return true;
      case 't':
        *out += '\t';
        return true;
      case 'r':
        *out += '\r';
        return true;
      case 'b':
      case 'f':
        *out += ' ';
        return true;
      case '\n':
        return true;  // The line goes on.
      case 'x':
        return HexCode(2, out);
      case 'u':
        return HexCode(4, out);
      default:
        *out += c;
        return true;
    }
  }

  bool Hex(size_t size, uint32_t* code) {
    const std::string digits(text_.substr(at_, size));
    if (digits.size() < size || !absl::SimpleHexAtoi(digits, code)) return false;
    at_ += size;
    return true;
  }

  bool HexCode(size_t size, std::string* out) {
    uint32_t code = 0;
    if (!Hex(size, &code)) return false;
    uint32_t low = 0;
    if (code >= 0xD800 && code < 0xDC00 && Take("\\u")) {
      if (!Hex(4, &low)) return false;
      code = 0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF);
    }
    AppendUtf8(code, out);
    return true;
  }

  std::optional<json::value> Word() {
    const size_t end = std::min(text_.find_first_of(" \t\r\n,}]:/", at_), text_.size());
    const std::string word(text_.substr(at_, end - at_));
    at_ = end;
    if (word == "true" || word == "True") return json::value(true);
    if (word == "false" || word == "False") return json::value(false);
    if (word == "null" || word == "None") return json::value(nullptr);
    int64_t integer = 0;
    if (absl::SimpleAtoi(word, &integer)) return json::value(integer);
    double number = 0;
    const bool may_be_number = word.find_first_of("0123456789") != std::string::npos;
    if (may_be_number && absl::SimpleAtod(word, &number)) return json::value(number);
    return std::nullopt;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Result<json::object> ParseLenientObject(std::string_view text) {
  const size_t begin = text.find('{');
  const size_t end = text.rfind('}');
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin)
    return InvalidArgument("there is no JSON object in '", text.substr(0, 60), "'");
  const std::string_view object = text.substr(begin, end - begin + 1);
  json::error_code error;
  json::value value = json::parse(object, error);
  if (!error) return std::move(value.get_object());
  Parser parser(object);
  std::optional<json::value> lenient = parser.Whole();
  if (lenient) return std::move(lenient->get_object());
  return InvalidArgument("it is no JSON from '",
                         object.substr(std::min(parser.at(), object.size()), 20), "' on");
}

}  // namespace longhand::client
