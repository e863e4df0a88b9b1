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
// FOLDER/dataset_info.json. Rows with pictures come first: LLaMA-Factory's loader takes the types
// of all rows from the first ten megabytes, and an empty list there has none. One thread.
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
  TrainingFolder(std::filesystem::path folder,
                 std::string name,
                 JsonLinesWriter with_pictures,
                 JsonLinesWriter without)
      : folder_(std::move(folder)),
        name_(std::move(name)),
        with_pictures_(std::move(with_pictures)),
        without_(std::move(without)) {}

  Result<std::string> Save(const Picture& picture) const;

  std::filesystem::path folder_;
  std::string name_;
  JsonLinesWriter with_pictures_;
  JsonLinesWriter without_;  // a file of its own until Finish
  int64_t num_samples_ = 0;
};

}  // namespace longhand::client
