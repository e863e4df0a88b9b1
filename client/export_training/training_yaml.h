// The file that `llamafactory-cli train` takes.
#pragma once

#include <string>

namespace longhand::client {

struct TrainingSettings {
  std::string model;
  std::string dataset_dir;
  std::string dataset;
  std::string output_dir;
  bool is_dpo = false;
  bool is_lora = false;
};

// As far as it is known, as LongWriter-V was trained (on eight GPUs); comments say what is not.
std::string TrainingYaml(const TrainingSettings& settings);

}  // namespace longhand::client
