#include "shim/chat_template.h"

#include <optional>
#include <utility>

namespace longhand::shim {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{16} << 20;  // Published ones are below 20 KB.

}  // namespace

Result<ChatTemplate> ChatTemplate::Load(const std::filesystem::path& directory) {
  const auto read = [&](const char* name) {
    return ReadFileIfPresent(directory / name, kMaxFileBytes);
  };
  LONGHAND_ASSIGN_OR_RETURN(const std::optional<std::string> jinja, read("chat_template.jinja"));
  LONGHAND_ASSIGN_OR_RETURN(const std::optional<std::string> json, read("chat_template.json"));
  LONGHAND_ASSIGN_OR_RETURN(const std::optional<std::string> config, read("tokenizer_config.json"));
  longhand_shim_chat_template* handle = nullptr;
  longhand_shim_bytes error{};
  const int code = longhand_shim_chat_template_new(BorrowOptional(jinja), BorrowOptional(json),
                                                   BorrowOptional(config), &handle, &error);
  LONGHAND_RETURN_IF_ERROR(TakeStatus(code, error).WithContext(directory.string()));
  return ChatTemplate(Handle(handle));
}

Result<RenderedChat> ChatTemplate::Render(std::string_view input_json) const {
  longhand_shim_rendered rendered{};
  longhand_shim_bytes error{};
  const int code =
      longhand_shim_chat_template_render(handle_.get(), Borrow(input_json), &rendered, &error);
  LONGHAND_RETURN_IF_ERROR(TakeStatus(code, error));
  RenderedChat chat;
  chat.text.assign(reinterpret_cast<const char*>(rendered.text.data), rendered.text.size);
  for (size_t i = 0; i < rendered.literal.size; ++i) {
    chat.literal.push_back({rendered.literal.data[i].begin, rendered.literal.data[i].end});
  }
  chat.literal_known = rendered.literal_known != 0;
  longhand_shim_free_rendered(rendered);
  return chat;
}

}  // namespace longhand::shim
