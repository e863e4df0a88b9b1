#include "client/export_training/written_rows.h"

namespace longhand::client {
namespace {

namespace json = boost::json;

const json::string* StringField(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_string();
}

const json::array* ArrayField(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_array();
}

void AddSection(const json::string& section, std::string* text) {
  if (!text->empty()) *text += "\n\n";
  *text += section;
}

std::string JoinedText(const json::object& fields) {
  std::string text;
  if (const json::array* write = ArrayField(fields, "write")) {
    for (const json::value& section : *write)
      if (section.is_string()) AddSection(section.get_string(), &text);
    return text;
  }
  if (const json::array* sections = ArrayField(fields, "sections")) {
    for (const json::value& section : *sections) {
      const json::string* response =
          section.is_object() ? StringField(section.get_object(), "response") : nullptr;
      if (response != nullptr) AddSection(*response, &text);
    }
  }
  return text;
}

std::string InstructionOf(const json::object& fields) {
  for (const char* name : {"prompt", "instruction", "question"})
    if (const json::string* text = StringField(fields, name)) return std::string(*text);
  const json::value* metadata = fields.if_contains("metadata");
  const json::string* text = metadata != nullptr && metadata->is_object()
                                 ? StringField(metadata->get_object(), "instruction")
                                 : nullptr;
  return text == nullptr ? "" : std::string(*text);
}

// Whose turn a role's is; nothing where it is nobody's.
Result<bool> IsUser(const json::string& role) {
  if (role == "user" || role == "human") return true;
  if (role == "assistant" || role == "gpt") return false;
  return InvalidArgument("a message has the role '", std::string(role),
                         "'; it must be user or assistant");
}

Result<Turn> TurnOf(const json::object& message) {
  const json::string* role = StringField(message, "role");
  if (role == nullptr) role = StringField(message, "from");
  const json::string* content = StringField(message, "content");
  if (content == nullptr) content = StringField(message, "value");
  if (role == nullptr || content == nullptr)
    return InvalidArgument("a message has no text role and content");
  LONGHAND_ASSIGN_OR_RETURN(const bool is_user, IsUser(*role));
  return Turn{is_user, std::string(*content)};
}

// The object that a message is, in one way or another.
std::optional<json::object> ObjectOf(const json::value& message) {
  if (message.is_object()) return message.get_object();
  if (!message.is_string() || !message.get_string().starts_with('{')) return std::nullopt;
  json::error_code error;
  json::value parsed = json::parse(message.get_string(), error);
  const bool is_message =
      !error && parsed.is_object() &&
      (parsed.get_object().contains("role") || parsed.get_object().contains("from"));
  return is_message ? std::optional(std::move(parsed.get_object())) : std::nullopt;
}

}  // namespace

Result<Sample> SampleOfWriting(DatasetRow row) {
  Sample sample{.pictures = std::move(row.pictures)};
  sample.turns = {{true, InstructionOf(row.fields)}, {false, JoinedText(row.fields)}};
  return sample;
}

Result<Sample> SampleOfMessages(DatasetRow row, std::string* form) {
  const json::array* messages = ArrayField(row.fields, "messages");
  if (messages == nullptr) return InvalidArgument("it has no list `messages`");
  Sample sample{.pictures = std::move(row.pictures)};
  for (const json::value& message : *messages) {
    if (const std::optional<json::object> object = ObjectOf(message)) {
      *form = message.is_string() ? "JSON texts with roles" : "objects with roles";
      LONGHAND_ASSIGN_OR_RETURN(Turn turn, TurnOf(*object));
      sample.turns.push_back(std::move(turn));
    } else if (message.is_string()) {
      *form = "texts, the user's and the assistant's in turn";
      sample.turns.push_back({sample.turns.size() % 2 == 0, std::string(message.get_string())});
    } else {
      return InvalidArgument("a message is neither a text nor an object");
    }
  }
  return sample;
}

}  // namespace longhand::client
