// Damaged files: a decoder may refuse them or make something of them, but never crash, hang or
// leak. Run under the asan preset for its full worth.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "coordinator/input/image_decoder.h"
#include "tests/unit/coordinator/input/test_pictures.h"

namespace longhand::input {
namespace {

constexpr uint32_t kSeed = 20261;
// Damaged sizes must stay quick to decode.
constexpr ImageLimits kLimits{.max_file_bytes = 1 << 20, .max_pixels = 1 << 20};

using Random = std::mt19937;

size_t Below(Random& random, size_t bound) { return random() % bound; }

void FlipBits(Random& random, std::vector<uint8_t>& file) {
  for (size_t n = 1 + Below(random, 8); n > 0; --n) {
    file[Below(random, file.size())] ^= static_cast<uint8_t>(1u << Below(random, 8));
  }
}

// Headers lie near the front, and hold the values that decide about memory.
void OverwriteHeader(Random& random, std::vector<uint8_t>& file) {
  constexpr uint8_t kTelling[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
  const size_t end = std::min<size_t>(file.size(), 200);
  for (size_t n = 1 + Below(random, 4); n > 0; --n) {
    file[Below(random, end)] = kTelling[Below(random, std::size(kTelling))];
  }
}

void Truncate(Random& random, std::vector<uint8_t>& file) {
  file.resize(1 + Below(random, file.size()));
}

void CutOut(Random& random, std::vector<uint8_t>& file) {
  const size_t first = Below(random, file.size());
  const size_t count = std::min(1 + Below(random, 64), file.size() - first);
  file.erase(file.begin() + static_cast<ptrdiff_t>(first),
             file.begin() + static_cast<ptrdiff_t>(first + count));
}

void Repeat(Random& random, std::vector<uint8_t>& file) {
  const size_t first = Below(random, file.size());
  const size_t count = std::min(1 + Below(random, 64), file.size() - first);
  const std::vector<uint8_t> piece(file.begin() + static_cast<ptrdiff_t>(first),
                                   file.begin() + static_cast<ptrdiff_t>(first + count));
  file.insert(file.begin() + static_cast<ptrdiff_t>(Below(random, file.size())), piece.begin(),
              piece.end());
}

void Damage(Random& random, std::vector<uint8_t>& file) {
  constexpr void (*kWays[])(Random&, std::vector<uint8_t>&) = {FlipBits, OverwriteHeader, Truncate,
                                                               CutOut, Repeat};
  for (size_t n = 1 + Below(random, 3); n > 0 && !file.empty(); --n) {
    kWays[Below(random, std::size(kWays))](random, file);
  }
}

TEST(ImageFuzz, NoDamageToAFileDoesMoreThanMakeItFail) {
  constexpr int kRounds = 60;
  int num_decoded = 0;
  int num_refused = 0;
  for (const std::filesystem::path& folder : {PictureFolder(), RecordedPictureFolder()}) {
    for (const std::filesystem::path& path : PictureFiles(folder)) {
      const std::vector<uint8_t> whole = ReadBytes(path);
      for (int round = 0; round < kRounds; ++round) {
        SCOPED_TRACE(testing::Message()
                     << path.filename() << " round " << round << " seed " << kSeed);
        Random random(kSeed + round);
        std::vector<uint8_t> file = whole;
        Damage(random, file);
        const Result<RgbImage> image = DecodeImage(file, kLimits);
        if (!image.ok()) {
          ASSERT_EQ(image.status().code(), StatusCode::kInvalidArgument) << image.status();
          ++num_refused;
          continue;
        }
        ASSERT_EQ(image->pixels.size(), static_cast<size_t>(image->height) * image->width * 3);
        ++num_decoded;
      }
    }
  }
  // Both happen, or the damage is not the kind that was meant.
  EXPECT_GT(num_decoded, 100);
  EXPECT_GT(num_refused, 100);
  RecordProperty("decoded", num_decoded);
  RecordProperty("refused", num_refused);
}

}  // namespace
}  // namespace longhand::input
