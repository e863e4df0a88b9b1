#include "worker/runner/image_store.h"

namespace longhand::runner {

Status ImageStore::Put(const ContentHash& hash,
                       int32_t height,
                       int32_t width,
                       std::span<const uint8_t> pixels) {
  const auto bytes = static_cast<int64_t>(pixels.size());
  std::lock_guard lock(mutex_);
  if (images_.contains(hash)) return OkStatus();
  if (bytes > max_bytes_ - bytes_) {
    return ResourceExhausted("an image of ", bytes, " bytes does not fit: ", bytes_, " of ",
                             max_bytes_, " bytes for resized images are taken");
  }
  images_.emplace(hash, Image{height, width, {pixels.begin(), pixels.end()}});
  bytes_ += bytes;
  return OkStatus();
}

const ImageStore::Image* ImageStore::Find(const ContentHash& hash) const {
  std::lock_guard lock(mutex_);
  const auto it = images_.find(hash);
  return it == images_.end() ? nullptr : &it->second;
}

void ImageStore::Remove(const ContentHash& hash) {
  std::lock_guard lock(mutex_);
  const auto it = images_.find(hash);
  if (it == images_.end()) return;
  bytes_ -= static_cast<int64_t>(it->second.pixels.size());
  images_.erase(it);
}

void ImageStore::Clear() {
  std::lock_guard lock(mutex_);
  images_.clear();
  bytes_ = 0;
}

}  // namespace longhand::runner
