// The tokenizer and cases of tests/data/tokenizer (tools/oracle/tokenizer_cases.py --refresh).
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/check.h"
#include "shim/tokenizer.h"

namespace longhand::testing {

inline std::filesystem::path TokenizerData() {
  return std::filesystem::path(LONGHAND_TEST_DATA) / "tokenizer";
}

inline shim::Tokenizer LoadTestTokenizer() {
  Result<shim::Tokenizer> tokenizer = shim::Tokenizer::Load(TokenizerData());
  LONGHAND_CHECK(tokenizer.ok()) << tokenizer.status();
  return std::move(tokenizer).value();
}

inline std::string ReadText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  LONGHAND_CHECK(file.good()) << path.string();
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::vector<boost::json::object> ReadJsonLines(const std::filesystem::path& path) {
  std::ifstream file(path);
  LONGHAND_CHECK(file.good()) << path.string();
  std::vector<boost::json::object> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(boost::json::parse(line).as_object());
  }
  LONGHAND_CHECK(!lines.empty()) << path.string();
  return lines;
}

inline std::vector<int32_t> Ids(const boost::json::value& ids) {
  return boost::json::value_to<std::vector<int32_t>>(ids);
}

inline std::string Text(const boost::json::value& text) { return std::string(text.as_string()); }

}  // namespace longhand::testing
