#include "coordinator/input/chat_json.h"

#include <boost/json.hpp>

namespace longhand::input {
namespace {

namespace json = boost::json;

json::value ContentOf(const ChatMessage& message) {
  if (message.parts.empty()) return "";
  if (message.parts.size() == 1 && !message.parts[0].is_image) {
    return json::string(message.parts[0].text);
  }
  json::array content;
  for (const ContentPart& part : message.parts) {
    if (part.is_image) {
      content.push_back(json::object{{"type", "image"}});
    } else {
      content.push_back(json::object{{"type", "text"}, {"text", part.text}});
    }
  }
  return content;
}

}  // namespace

std::string ChatTemplateInput(const ChatPrompt& chat) {
  json::array messages;
  for (const ChatMessage& message : chat.messages) {
    messages.push_back(json::object{{"role", message.role}, {"content", ContentOf(message)}});
  }
  return json::serialize(json::object{{"messages", std::move(messages)},
                                      {"add_generation_prompt", true},
                                      {"add_vision_id", chat.add_vision_id}});
}

}  // namespace longhand::input
