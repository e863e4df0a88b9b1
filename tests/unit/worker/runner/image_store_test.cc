#include "worker/runner/image_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::runner {
namespace {

using ::testing::HasSubstr;

ContentHash Hash(uint8_t value) {
  ContentHash hash{};
  hash[0] = value;
  return hash;
}

TEST(ImageStore, KeepsACopyUntilItIsRemoved) {
  ImageStore store(/*max_bytes=*/100);
  std::vector<uint8_t> pixels(12, 3);
  ASSERT_EQ(store.Put(Hash(1), 2, 2, pixels), OkStatus());
  pixels.assign(12, 4);
  const ImageStore::Image* image = store.Find(Hash(1));
  ASSERT_NE(image, nullptr);
  EXPECT_EQ(image->height, 2);
  EXPECT_EQ(image->pixels, std::vector<uint8_t>(12, 3));
  EXPECT_EQ(store.Find(Hash(2)), nullptr);
  store.Remove(Hash(1));
  store.Remove(Hash(1));
  EXPECT_EQ(store.Find(Hash(1)), nullptr);
}

TEST(ImageStore, RefusesWhatExceedsItsBoundAndTakesItWhenThereIsRoomAgain) {
  ImageStore store(/*max_bytes=*/20);
  const std::vector<uint8_t> pixels(12);
  ASSERT_EQ(store.Put(Hash(1), 2, 2, pixels), OkStatus());
  EXPECT_EQ(store.Put(Hash(1), 2, 2, pixels), OkStatus());  // Known: takes no room.
  const Status full = store.Put(Hash(2), 2, 2, pixels);
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(full.message(), HasSubstr("12 of 20 bytes"));
  store.Remove(Hash(1));
  EXPECT_EQ(store.Put(Hash(2), 2, 2, pixels), OkStatus());
  store.Clear();
  EXPECT_EQ(store.Put(Hash(3), 2, 2, pixels), OkStatus());
}

}  // namespace
}  // namespace longhand::runner
