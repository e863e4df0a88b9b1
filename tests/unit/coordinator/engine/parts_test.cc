// The small parts: BlockPool, RowAllocator, CheckConfig and CheckRequest.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "coordinator/engine/block_pool.h"
#include "coordinator/engine/config.h"
#include "coordinator/engine/row_allocator.h"
#include "tests/unit/coordinator/engine/request_maker.h"

namespace longhand::engine {
namespace {

TEST(BlockPoolTest, APromiseIsKeptAndNotGivenTwice) {
  PrefixCache cache(4);
  BlockPool pool(4, cache);
  EXPECT_TRUE(pool.Reserve(3));
  EXPECT_FALSE(pool.Reserve(2));
  EXPECT_EQ(pool.num_available(), 1);
  std::set<int32_t> taken;
  for (int i = 0; i < 3; ++i) taken.insert(pool.TakeReserved());
  EXPECT_EQ(taken.size(), 3u);
  EXPECT_EQ(pool.num_free(), 1);
  const std::vector<int32_t> blocks(taken.begin(), taken.end());
  pool.Free(blocks);
  EXPECT_EQ(pool.num_free(), 4);
  EXPECT_TRUE(pool.Reserve(4));
  pool.CancelReservation(4);
  EXPECT_EQ(pool.num_available(), 4);
}

TEST(BlockPoolDeathTest, ABlockFreedTwiceEndsTheProcess) {
  PrefixCache cache(4);
  BlockPool pool(4, cache);
  ASSERT_TRUE(pool.Reserve(1));
  const int32_t block = pool.TakeReserved();
  pool.Free({&block, 1});
  EXPECT_DEATH(pool.Free({&block, 1}), "freed twice");
}

TEST(BlockPoolDeathTest, ABlockWithoutAPromiseEndsTheProcess) {
  PrefixCache cache(4);
  BlockPool pool(4, cache);
  EXPECT_DEATH(pool.TakeReserved(), "no block was promised");
}

TEST(RowAllocatorTest, GapsJoinOnBothSides) {
  RowAllocator rows(30);
  EXPECT_EQ(rows.Allocate(10), 0);
  EXPECT_EQ(rows.Allocate(10), 10);
  EXPECT_EQ(rows.Allocate(10), 20);
  EXPECT_EQ(rows.Allocate(1), std::nullopt);
  rows.Free(0, 10);
  rows.Free(20, 10);
  EXPECT_EQ(rows.num_free(), 20);
  EXPECT_EQ(rows.Allocate(11), std::nullopt);
  rows.Free(10, 10);
  EXPECT_EQ(rows.Allocate(30), 0);
}

TEST(RowAllocatorDeathTest, RowsFreedTwiceEndTheProcess) {
  RowAllocator rows(30);
  ASSERT_EQ(rows.Allocate(10), 0);
  ASSERT_EQ(rows.Allocate(10), 10);
  rows.Free(0, 10);
  EXPECT_DEATH(rows.Free(5, 10), "freed twice");
}

TEST(CheckConfigTest, EveryStreamMustGetItsTokenInEveryStep) {
  EngineConfig config;
  EXPECT_TRUE(CheckConfig(config).ok());
  config.max_num_seqs = 100;
  config.max_num_batched_tokens = 99;
  EXPECT_EQ(CheckConfig(config).ToString(),
            "INVALID_ARGUMENT: max-num-batched-tokens is 99; it must be at least max-num-seqs, "
            "which is 100");
}

TEST(CheckRequestTest, NamesTheFieldThatIsWrong) {
  const Request good = MakeRequest("a", 10, 5);
  EXPECT_TRUE(CheckRequest(good).ok());
  Request request = good;
  request.max_tokens = -1;
  EXPECT_EQ(CheckRequest(request).message(), "max_tokens is -1; it must be at least 0");
  request = good;
  request.min_tokens = 6;
  EXPECT_EQ(CheckRequest(request).message(),
            "min_tokens is 6; it must be from 0 to max_tokens, which is 5");
  request = good;
  AddImage(request, 2, 5, 1);
  AddImage(request, 6, 2, 2);
  EXPECT_EQ(CheckRequest(request).message(), "image 1 takes tokens 6 to 8; 7 to 10 are free");
  request = good;
  AddImage(request, 8, 3, 1);
  EXPECT_EQ(CheckRequest(request).message(), "image 0 takes tokens 8 to 11; 0 to 10 are free");
  request = good;
  AddImage(request, 0, 3, 1);
  request.images[0].height = 3;
  EXPECT_EQ(CheckRequest(request).message(),
            "image 0 has 12 bytes of pixels; 3 x 2 x 3 are needed");
}

}  // namespace
}  // namespace longhand::engine
