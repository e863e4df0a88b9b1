#include "coordinator/input/image_processor.h"

#include <openssl/evp.h>

#include <memory>
#include <utility>

#include "coordinator/input/resize.h"
#include "coordinator/input/smart_resize.h"

namespace longhand::input {
namespace {

struct DigestDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

}  // namespace

ContentHash HashImage(const RgbImage& image) {
  uint8_t sizes[8];
  for (int i = 0; i < 4; ++i) {
    sizes[i] = static_cast<uint8_t>(static_cast<uint32_t>(image.height) >> (8 * i));
    sizes[4 + i] = static_cast<uint8_t>(static_cast<uint32_t>(image.width) >> (8 * i));
  }
  ContentHash hash{};
  const std::unique_ptr<EVP_MD_CTX, DigestDeleter> digest(EVP_MD_CTX_new());
  const bool done = digest != nullptr &&
                    EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr) == 1 &&
                    EVP_DigestUpdate(digest.get(), sizes, sizeof sizes) == 1 &&
                    EVP_DigestUpdate(digest.get(), image.pixels.data(), image.pixels.size()) == 1 &&
                    EVP_DigestFinal_ex(digest.get(), hash.data(), nullptr) == 1;
  LONGHAND_CHECK(done) << "OpenSSL has no SHA-256";
  return hash;
}

ImageProcessor::ImageProcessor(const VisionConfig& vision,
                               const PixelPolicy& policy,
                               const ImageLimits& limits)
    : patch_size_(static_cast<int32_t>(vision.patch_size)),
      merge_size_(static_cast<int32_t>(vision.spatial_merge_size)),
      policy_(policy),
      limits_(limits) {}

Result<PreparedImage> ImageProcessor::Process(std::span<const uint8_t> file) const {
  LONGHAND_ASSIGN_OR_RETURN(const RgbImage decoded, DecodeImage(file, limits_));
  const int32_t token_size = patch_size_ * merge_size_;
  // Refuses what is too long and narrow, under a fixed size too.
  LONGHAND_ASSIGN_OR_RETURN(ImageSize size, SmartResize(decoded.height, decoded.width, token_size,
                                                        policy_.min_pixels, policy_.max_pixels));
  if (policy_.fixed_size) size = *policy_.fixed_size;
  PreparedImage prepared;
  prepared.image = Resize(decoded, size);
  prepared.grid = {size.height / token_size, size.width / token_size};
  prepared.num_patches = prepared.grid.num_tokens() * merge_size_ * merge_size_;
  prepared.hash = HashImage(prepared.image);
  return prepared;
}

}  // namespace longhand::input
