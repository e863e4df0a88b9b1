// ChatTemplate: a checkpoint's own template, run with limits; messages become the text of a prompt.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"
#include "shim/handle.h"
#include "shim/longhand_shim.h"
#include "shim/tokenizer.h"

namespace longhand::shim {

struct RenderedChat {
  std::string text;
  // Where the request's own text is in `text`, sorted. Its white space at either end may lie
  // outside.
  std::vector<ByteRange> literal;
  // False when the template changed the request's text on the way (cut it, replaced in it), so that
  // it cannot be told from the template's own; `literal` is then empty.
  bool literal_known = false;
};

// Immutable after Load; any number of threads may use one at once.
class ChatTemplate {
 public:
  // chat_template.json, else chat_template.jinja, else `chat_template` of tokenizer_config.json (a
  // text, or a list in which "default" counts). kInvalidArgument naming the file when there is none
  // or it does not parse.
  static Result<ChatTemplate> Load(const std::filesystem::path& directory);

  // `input_json` is an object with "messages" and the template's other variables
  // ("add_generation_prompt", "add_vision_id", ...). Within the messages all strings but "role" and
  // "type" count as the request's own text. kInvalidArgument when the template refuses the
  // messages, kResourceExhausted beyond its steps or output.
  Result<RenderedChat> Render(std::string_view input_json) const;

 private:
  using Handle =
      std::unique_ptr<longhand_shim_chat_template, Free<longhand_shim_chat_template_free>>;

  explicit ChatTemplate(Handle handle) : handle_(std::move(handle)) {}

  Handle handle_;
};

}  // namespace longhand::shim
