// AdapterConfig: what adapter_config.json of a PEFT LoRA adapter says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/status.h"

namespace longhand {

struct AdapterConfig {
  int64_t rank = 0;
  float scale = 0;  // lora_alpha / r, or / sqrt(r) with use_rslora
  // Module names, or the ends of such; empty where the file has a pattern instead.
  std::vector<std::string> target_modules;
  bool excludes_modules = false;

  // kNotFound when there is no such file. kInvalidArgument naming the field for what is not LoRA,
  // or is a kind of it that would be applied otherwise than by A, B and one scale. Fields that are
  // null, false or empty are as good as absent, known or not.
  static Result<AdapterConfig> Load(const std::filesystem::path& directory);
};

}  // namespace longhand
