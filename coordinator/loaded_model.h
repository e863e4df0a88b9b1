// LoadedModel: what the coordinator reads of a checkpoint's directory before anything listens.
#pragma once

#include <cstdint>
#include <string>

#include "common/config/model_config.h"
#include "common/options/serve_options.h"
#include "common/status.h"
#include "coordinator/input/pixel_policy.h"
#include "shim/chat_template.h"
#include "shim/tokenizer.h"

namespace longhand {

struct LoadedModel {
  ModelConfig config;
  input::PixelPolicy pixels;
  shim::Tokenizer tokenizer;
  shim::ChatTemplate chat_template;
  std::string digest;  // of the checkpoint

  static Result<LoadedModel> Load(const ServeOptions& options);
};

}  // namespace longhand
