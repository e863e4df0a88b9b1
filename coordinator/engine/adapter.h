// Adapter: a LoRA adapter that all ranks hold, as long as somebody holds this.
#pragma once

#include <cstdint>
#include <string>

namespace longhand::engine {

struct Adapter {
  std::string name;
  std::string directory;
  std::string digest;   // SHA-256 of its files
  int64_t load_id = 0;  // never used twice: what was computed with it is known by this
  int32_t slot = 0;     // in the workers' memory; another adapter's, once nobody holds this one
  bool changes_images = false;
};

}  // namespace longhand::engine
