// Chat messages in the form that chat templates read.
#pragma once

#include <string>

#include "coordinator/input/prompt.h"

namespace longhand::input {

// {"messages": [...], "add_generation_prompt": true, "add_vision_id": ...}. A message of one text
// has it as "content"; any other has a list of {"type": "text", "text": ...} and {"type": "image"}.
std::string ChatTemplateInput(const ChatPrompt& chat);

}  // namespace longhand::input
