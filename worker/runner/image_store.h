// ImageStore: resized pixels by content hash, within a bound of bytes.
//
// Put() is called from any thread, everything else from the executor thread. Only the executor
// removes, so an image that it has found stays until it removes it.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include "common/status.h"
#include "common/step_plan.h"

namespace longhand::runner {

class ImageStore {
 public:
  struct Image {
    int32_t height = 0;
    int32_t width = 0;
    std::vector<uint8_t> pixels;  // [height, width, 3]
  };

  explicit ImageStore(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // Keeps a copy; a hash that is there already changes nothing. kResourceExhausted when the images
  // together would exceed the bound.
  Status Put(const ContentHash& hash,
             int32_t height,
             int32_t width,
             std::span<const uint8_t> pixels);
  // Null when absent.
  const Image* Find(const ContentHash& hash) const;
  void Remove(const ContentHash& hash);
  void Clear();

 private:
  const int64_t max_bytes_;
  mutable std::mutex mutex_;
  std::map<ContentHash, Image> images_;
  int64_t bytes_ = 0;
};

}  // namespace longhand::runner
