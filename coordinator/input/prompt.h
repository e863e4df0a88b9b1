// What a request asks for, and what the engine gets: plain data on either side of PromptBuilder.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace longhand::input {

// A text, or the next of the request's images.
struct ContentPart {
  bool is_image = false;
  std::string text;  // empty for an image
};

struct ChatMessage {
  std::string role;  // system, user or assistant
  std::vector<ContentPart> parts;
};

struct ChatPrompt {
  std::vector<ChatMessage> messages;
  bool add_vision_id = false;  // "Picture N: " before each picture
};

// A raw prompt: control tokens are parsed, one <|image_pad|> for each image.
struct TextPrompt {
  std::string text;
};

// One image-pad id for each image, or already as many as each picture takes.
struct TokenPrompt {
  std::vector<int32_t> token_ids;
};

using PromptInput = std::variant<ChatPrompt, TextPrompt, TokenPrompt>;

// Where the tokens of one image lie in the prompt, in the order of the request's images.
struct PlacedImage {
  int64_t offset = 0;
  int64_t num_tokens = 0;

  friend bool operator==(const PlacedImage&, const PlacedImage&) = default;
};

}  // namespace longhand::input
