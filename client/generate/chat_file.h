// OpenAI chat messages in a file, with pictures as paths or data URLs.
#pragma once

#include <filesystem>
#include <string>

#include "common/status.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::client {

// Fills messages and images of `request`. kInvalidArgument naming the file and the message's index.
Status ReadChatFile(const std::filesystem::path& path, v1::GenerateRequest* request);

// One user message: the text, then the pictures, as LongWriter-V's own script asks.
Status SetPrompt(const std::string& prompt,
                 const std::vector<std::string>& image_paths,
                 v1::GenerateRequest* request);

// The whole file. kNotFound when it cannot be read.
Result<std::string> ReadFile(const std::filesystem::path& path);

}  // namespace longhand::client
