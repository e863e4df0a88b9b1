#include "client/generate/chat_file.h"

#include <absl/strings/escaping.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

namespace longhand::client {
namespace {

namespace json = boost::json;

const json::string* StringField(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_string();
}

Result<std::string> DecodeDataUrl(const std::string& url) {
  const size_t comma = url.find(',');
  if (comma == std::string::npos || url.substr(0, comma).find(";base64") == std::string::npos) {
    return InvalidArgument("a data URL must have the form data:image/...;base64,...");
  }
  std::string bytes;
  if (!absl::Base64Unescape(url.substr(comma + 1), &bytes)) {
    return InvalidArgument("a data URL holds malformed base64");
  }
  return bytes;
}

Status AddImage(const std::string& source, v1::GenerateRequest* request) {
  if (source.rfind("http://", 0) == 0 || source.rfind("https://", 0) == 0) {
    return InvalidArgument("pictures must be file paths or data URLs, not ", source);
  }
  constexpr std::string_view kFile = "file://";
  const std::string path = source.rfind(kFile, 0) == 0 ? source.substr(kFile.size()) : source;
  LONGHAND_ASSIGN_OR_RETURN(std::string bytes,
                            source.rfind("data:", 0) == 0 ? DecodeDataUrl(source) : ReadFile(path));
  request->add_images()->set_data(std::move(bytes));
  return OkStatus();
}

// {"type":"image_url","image_url":{"url":..}}, {"image_url":".."} or {"image":".."}.
const json::string* ImageSource(const json::object& part) {
  if (const json::string* image = StringField(part, "image")) return image;
  const json::value* url = part.if_contains("image_url");
  if (url == nullptr) return nullptr;
  return url->is_object() ? StringField(url->get_object(), "url") : url->if_string();
}

Status AddPart(const json::value& value, v1::ChatMessage* message, v1::GenerateRequest* request) {
  const json::object* part = value.if_object();
  if (part == nullptr) return InvalidArgument("a content part must be an object");
  if (const json::string* source = ImageSource(*part)) {
    message->add_content()->mutable_image();
    return AddImage(std::string(*source), request);
  }
  const json::string* text = StringField(*part, "text");
  if (text == nullptr) return InvalidArgument("a content part must hold a text or a picture");
  message->add_content()->set_text(std::string(*text));
  return OkStatus();
}

Status AddMessage(const json::value& value, v1::GenerateRequest* request) {
  const json::object* object = value.if_object();
  const json::string* role = object == nullptr ? nullptr : StringField(*object, "role");
  if (role == nullptr) return InvalidArgument("it must be an object with a role");
  v1::ChatMessage* message = request->mutable_messages()->add_messages();
  message->set_role(std::string(*role));
  const json::value* content = object->if_contains("content");
  if (content != nullptr && content->is_string()) {
    message->add_content()->set_text(std::string(content->get_string()));
    return OkStatus();
  }
  if (content == nullptr || !content->is_array()) {
    return InvalidArgument("content must be a string or a list of parts");
  }
  for (const json::value& part : content->get_array()) {
    LONGHAND_RETURN_IF_ERROR(AddPart(part, message, request));
  }
  return OkStatus();
}

}  // namespace

Result<std::string> ReadFile(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {  // It opens, but reading it throws.
    return NotFound("cannot read ", path.string(), ": it is a directory");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFound("cannot read ", path.string(), ": ", std::strerror(errno));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

Status ReadChatFile(const std::filesystem::path& path, v1::GenerateRequest* request) {
  LONGHAND_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  boost::system::error_code error;
  const json::value root = json::parse(text, error);
  if (error) return InvalidArgument(path.string(), ": not JSON: ", error.message());
  const json::value* messages =
      root.is_object() ? root.get_object().if_contains("messages") : &root;
  if (messages == nullptr || !messages->is_array()) {
    return InvalidArgument(path.string(), ": expected a list of messages");
  }
  request->mutable_messages();  // No message at all is for the server to refuse.
  int index = 0;
  for (const json::value& message : messages->get_array()) {
    const Status status = AddMessage(message, request);
    if (!status.ok())
      return status.WithContext(path.string() + ": message " + std::to_string(index));
    ++index;
  }
  return OkStatus();
}

Status SetPrompt(const std::string& prompt,
                 const std::vector<std::string>& image_paths,
                 v1::GenerateRequest* request) {
  v1::ChatMessage* message = request->mutable_messages()->add_messages();
  message->set_role("user");
  message->add_content()->set_text(prompt);
  for (const std::string& path : image_paths) {
    LONGHAND_RETURN_IF_ERROR(AddImage(path, request));
    message->add_content()->mutable_image();
  }
  return OkStatus();
}

}  // namespace longhand::client
