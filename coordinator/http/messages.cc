// Chat messages, and the pictures in them.
#include <absl/strings/escaping.h>
#include <absl/strings/match.h>
#include <absl/strings/string_view.h>

#include <algorithm>
#include <utility>

#include "common/shorten.h"
#include "coordinator/http/answer_request.h"

namespace longhand::http {
namespace {

namespace json = boost::json;

std::string_view View(const json::string& text) { return {text.data(), text.size()}; }

Status AddImage(std::string_view url, AnswerRequest* out) {
  v1::Image* image = out->wire.add_images();
  if (url.substr(0, 8) == "https://") {
    out->image_urls.emplace_back(out->wire.images_size() - 1, std::string(url));
    return OkStatus();
  }
  const size_t comma = url.find(',');
  const absl::string_view head(url.data(), std::min(comma, url.size()));  // not std's on Debian
  if (!absl::StartsWithIgnoreCase(head, "data:") || comma == std::string_view::npos ||
      !absl::EndsWithIgnoreCase(head, ";base64")) {
    return InvalidArgument("an image_url is '", Shortened(url, 40),
                           "'; it must be data:image/...;base64,... or begin with https://");
  }
  if (!absl::Base64Unescape({url.data() + comma + 1, url.size() - comma - 1},
                            image->mutable_data()))
    return InvalidArgument("the data URL of an image_url holds malformed base64");
  return OkStatus();
}

// {"url": ...}, or the URL itself.
const json::string* UrlOf(const json::value* image_url) {
  if (image_url == nullptr) return nullptr;
  if (const json::object* object = image_url->if_object()) {
    const json::value* url = object->if_contains("url");
    return url == nullptr ? nullptr : url->if_string();
  }
  return image_url->if_string();
}

Status AddPart(const json::value& value, v1::ChatMessage* message, AnswerRequest* out) {
  const json::object* part = value.if_object();
  const json::value* type = part == nullptr ? nullptr : part->if_contains("type");
  if (type == nullptr || !type->is_string())
    return InvalidArgument("a content part must be an object with a type");
  if (*type == "text") {
    const json::value* text = part->if_contains("text");
    if (text == nullptr || !text->is_string())
      return InvalidArgument("a content part of type 'text' must have a string 'text'");
    message->add_content()->set_text(std::string(text->get_string()));
    return OkStatus();
  }
  if (*type == "image_url") {
    const json::string* url = UrlOf(part->if_contains("image_url"));
    if (url == nullptr)
      return InvalidArgument(
          "a content part of type 'image_url' must have an image_url with a url");
    message->add_content()->mutable_image();
    return AddImage(View(*url), out);
  }
  return InvalidArgument("a content part has the type ", Shown(*type),
                         "; it must be 'text' or 'image_url'");
}

// Clients send the list that they got, which is empty.
Status RefuseCalls(const json::object& message) {
  RequestFields fields(message);
  for (const char* name : {"tool_calls", "function_call"})
    fields.Refuse(name, "the model calls no tools");
  return fields.status();
}

Status AddMessage(const json::value& value, AnswerRequest* out) {
  const json::object* object = value.if_object();
  const json::value* role = object == nullptr ? nullptr : object->if_contains("role");
  if (role == nullptr || !role->is_string())
    return InvalidArgument("it must be an object with a role");
  LONGHAND_RETURN_IF_ERROR(RefuseCalls(*object));
  v1::ChatMessage* message = out->wire.mutable_messages()->add_messages();
  message->set_role(*role == "developer" ? "system" : std::string(role->get_string()));
  const json::value* content = object->if_contains("content");
  if (content != nullptr && content->is_string()) {
    message->add_content()->set_text(std::string(content->get_string()));
    return OkStatus();
  }
  // Clients send an answer of theirs that had none, as it was.
  if (*role == "assistant" && (content == nullptr || content->is_null())) {
    message->add_content()->set_text("");
    return OkStatus();
  }
  if (content == nullptr || !content->is_array())
    return InvalidArgument("its content must be a string or a list of parts");
  for (const json::value& part : content->get_array())
    LONGHAND_RETURN_IF_ERROR(AddPart(part, message, out));
  return OkStatus();
}

}  // namespace

Status ParseImages(const json::value& images, AnswerRequest* out) {
  if (!images.is_array())
    return InvalidArgument("images is ", Shown(images), "; it must be a list of URLs");
  for (const json::value& image : images.get_array()) {
    const json::string* url = UrlOf(&image);
    if (url == nullptr)
      return InvalidArgument("images holds ", Shown(image),
                             "; each must be a URL, or an object with a url");
    LONGHAND_RETURN_IF_ERROR(AddImage(View(*url), out));
  }
  return OkStatus();
}

Status ParseMessages(const json::value& messages, AnswerRequest* out) {
  if (!messages.is_array())
    return InvalidArgument("messages is ", Shown(messages), "; it must be a list");
  if (messages.get_array().empty())
    return InvalidArgument("messages is empty; at least one is needed");
  int index = 0;
  for (const json::value& message : messages.get_array()) {
    if (const Status status = AddMessage(message, out); !status.ok())
      return status.WithContext("message " + std::to_string(index));
    ++index;
  }
  return OkStatus();
}

}  // namespace longhand::http
