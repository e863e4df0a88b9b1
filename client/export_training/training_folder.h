// TrainingFolder: a folder that LLaMA-Factory takes as `dataset_dir`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "client/dataset/json_lines.h"
#include "client/export_training/sample.h"
#include "common/status.h"

namespace longhand::client {

// FOLDER/NAME.jsonl in ShareGPT's form, FOLDER/images/HASH.png (each picture once) and an entry of
// FOLDER/dataset_info.json. One thread.
class TrainingFolder {
 public:
  // A NAME.jsonl that is there is written anew.
  static Result<TrainingFolder> Open(const std::filesystem::path& folder, const std::string& name);

  // A sample that Prepare has accepted.
  Status Add(const Sample& sample);
  // dataset_info.json keeps what it has of other names.
  Status Finish(bool is_pairs);
  int64_t num_samples() const { return num_samples_; }

 private:
  TrainingFolder(std::filesystem::path folder, std::string name, JsonLinesWriter writer)
      : folder_(std::move(folder)), name_(std::move(name)), writer_(std::move(writer)) {}

  Result<std::string> Save(const Picture& picture) const;

  std::filesystem::path folder_;
  std::string name_;
  JsonLinesWriter writer_;
  int64_t num_samples_ = 0;
};

}  // namespace longhand::client
