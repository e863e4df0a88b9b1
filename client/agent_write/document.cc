#include "client/agent_write/document.h"

#include <boost/json.hpp>

namespace longhand::client {

std::string ToJson(const Document& document,
                   const std::string& instruction,
                   const std::vector<std::string>& image_paths) {
  namespace json = boost::json;
  json::array sections;
  for (const WrittenSection& section : document.sections) {
    sections.push_back(json::object{
        {"section", section.step}, {"response", section.text}, {"word_count", section.num_words}});
  }
  const json::array paths(image_paths.begin(), image_paths.end());
  return json::serialize(
      json::object{{"metadata", {{"instruction", instruction}, {"image_paths", paths}}},
                   {"plan", document.plan},
                   {"sections", sections},
                   {"total_word_count", document.num_words}});
}

}  // namespace longhand::client
