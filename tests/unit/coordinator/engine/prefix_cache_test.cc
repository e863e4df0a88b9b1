// Prefixes that are in KV already: what counts as the same, who holds the blocks, and that nothing
// but work is saved.
#include "coordinator/engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "coordinator/engine/block_pool.h"
#include "tests/unit/coordinator/engine/engine_harness.h"

namespace longhand::engine {
namespace {

PrefixCache::Content SomeContent() {
  PrefixCache::Content content;
  content.salt = "a";
  content.token_ids = {1, 2};
  content.positions = {0, 0, 0, 1, 1, 1};
  content.images.resize(1);
  return content;
}

TEST(PrefixCacheTest, AnythingElseIsAnotherBlock) {
  PrefixCache cache(4);
  const uint64_t id = cache.Insert(SomeContent(), 3);
  ASSERT_TRUE(cache.Find(SomeContent()).has_value());
  EXPECT_EQ(cache.Find(SomeContent())->block_id, 3);
  EXPECT_EQ(cache.Find(SomeContent())->id, id);
  std::vector<PrefixCache::Content> others(6, SomeContent());
  others[0].parent = 1;
  others[1].salt = "b";
  others[2].token_ids[1] = 3;
  others[3].positions[5] = 2;
  others[4].images[0].hash[31] = 1;
  others[5].images[0].offset = -1;
  for (const PrefixCache::Content& other : others) EXPECT_FALSE(cache.Find(other).has_value());
}

TEST(PrefixCacheTest, ABlockThatHoldsTheSameIsNotFoundBesideTheFirst) {
  PrefixCache cache(4);
  const uint64_t id = cache.Insert(SomeContent(), 3);
  EXPECT_EQ(cache.Insert(SomeContent(), 1), id);
  EXPECT_FALSE(cache.Contains(1));
  cache.Forget(1);
  EXPECT_EQ(cache.num_entries(), 1);
  cache.Forget(3);
  EXPECT_EQ(cache.num_entries(), 0);
  EXPECT_NE(cache.Insert(SomeContent(), 1), id);
}

// A sequence with blocks 0, 1, 2 goes; what the cache knows of it stays until it is needed.
TEST(BlockPoolTest, IdleBlocksAreTakenLastAndTheEndOfAPrefixFirst) {
  PrefixCache cache(4);
  BlockPool pool(4, cache);
  ASSERT_TRUE(pool.Reserve(3));
  std::vector<int32_t> blocks;
  for (int i = 0; i < 3; ++i) blocks.push_back(pool.TakeReserved());
  PrefixCache::Content content = SomeContent();
  for (const int32_t block : {blocks[0], blocks[1]}) content.parent = cache.Insert(content, block);
  pool.Free(blocks);
  EXPECT_EQ(pool.num_free(), 4);
  EXPECT_EQ(pool.num_idle(), 2);

  ASSERT_TRUE(pool.Reserve(4));
  pool.ShareReserved(blocks[0]);
  EXPECT_EQ(pool.num_idle(), 1);
  for (int i = 0; i < 2; ++i) {
    const int32_t block = pool.TakeReserved();
    EXPECT_NE(block, blocks[0]);
    EXPECT_NE(block, blocks[1]);
  }
  EXPECT_TRUE(cache.Contains(blocks[1]));
  EXPECT_EQ(pool.TakeReserved(), blocks[1]);
  EXPECT_FALSE(cache.Contains(blocks[1]));
  EXPECT_TRUE(cache.Contains(blocks[0]));
  EXPECT_EQ(pool.num_free(), 0);
}

// Four blocks, all idle: 0 and 1 were used twice, 2 and 3 once and later.
TEST(BlockPoolTest, BlocksThatWereReusedAreTakenLastUpToHalfOfThePool) {
  PrefixCache cache(4);
  BlockPool pool(4, cache);
  PrefixCache::Content content = SomeContent();
  ASSERT_TRUE(pool.Reserve(4));
  for (int32_t i = 0; i < 4; ++i) {
    ASSERT_EQ(pool.TakeReserved(), i);
    content.parent = cache.Insert(content, i);
  }
  const auto use = [&](int32_t block) {
    ASSERT_TRUE(pool.Reserve(1));
    pool.ShareReserved(block);
    pool.Free(std::vector{block});
  };
  pool.Free(std::vector{0, 1});
  use(0);
  use(1);
  pool.Free(std::vector{2, 3});
  const auto take_one = [&] {
    EXPECT_TRUE(pool.Reserve(1));
    return pool.TakeReserved();
  };
  EXPECT_EQ(take_one(), 3);
  // A third one that was reused is one too many: the first of them is like the others again.
  use(2);
  EXPECT_EQ(take_one(), 0);
  EXPECT_EQ(take_one(), 1);
  EXPECT_EQ(take_one(), 2);
}

class PrefixTest : public testing::Test {
 protected:
  static EngineConfig Config() {
    EngineConfig config = SmallConfig();
    config.max_num_batched_tokens = 64;
    config.max_num_prefill_tokens = 64;
    return config;
  }
  PrefixTest() { harness_.FormGroup(); }

  // Runs the request alone; how many tokens its steps had.
  int64_t Run(const Request& request, EngineHarness& harness) {
    last_ = harness.Submit(request);
    int64_t num_tokens = 0;
    while (!harness.plans_.empty()) {
      num_tokens += harness.plans_.front().num_tokens();
      num_copies_ += static_cast<int64_t>(harness.plans_.front().block_copies.size());
      harness.RunStep();
    }
    for (uint32_t i = 0; i < request.num_choices; ++i) {
      EXPECT_EQ(last_->answers[i], harness.Expected(request, i)) << "choice " << i;
    }
    return num_tokens;
  }
  int64_t Run(const Request& request) { return Run(request, harness_); }
  int64_t CachedTokens() const { return last_->events.back().usage->cached_tokens; }

  static Request Prompt(const std::string& id, int64_t num_tokens, uint64_t salt = 7) {
    Request request = MakeRequest(id, num_tokens, /*max_tokens=*/2, salt);
    request.ignore_eos = true;
    return request;
  }

  EngineHarness harness_{Config()};
  std::shared_ptr<Recording> last_;
  int64_t num_copies_ = 0;
};

// Blocks of 8. The last token is computed in any case; so of 24 tokens 16 are reused.
TEST_F(PrefixTest, APromptThatBeginsLikeAnEarlierOneIsNotComputedAgain) {
  const int64_t whole = Run(Prompt("a", 30));
  EXPECT_EQ(CachedTokens(), 0);
  EXPECT_EQ(Run(Prompt("b", 30)), whole - 24);
  EXPECT_EQ(CachedTokens(), 24);
  EXPECT_EQ(Run(Prompt("c", 24)), whole - 6 - 16);
  EXPECT_EQ(CachedTokens(), 16);
  EXPECT_EQ(Run(Prompt("d", 30, /*salt=*/8)), whole);
}

// The sections of a document, an hour apart.
TEST_F(PrefixTest, PromptsThatComeByOnceDoNotDriveOutABeginningThatWasReused) {
  Run(Prompt("plan", 30));
  Run(Prompt("section", 30));
  ASSERT_EQ(CachedTokens(), 24);
  for (uint64_t i = 0; i < 50; ++i) Run(Prompt("other " + std::to_string(i), 40, 100 + i));
  Run(Prompt("next section", 30));
  EXPECT_EQ(CachedTokens(), 24);
}

TEST_F(PrefixTest, TenantsAndSaltsDoNotShare) {
  const int64_t whole = Run(Prompt("a", 30));
  Request other = Prompt("b", 30);
  other.cache_salt = "x";
  EXPECT_EQ(Run(other), whole);
  other.request_id = "c";
  other.tenant = "x";
  other.cache_salt = "";
  EXPECT_EQ(Run(other), whole);
}

TEST_F(PrefixTest, AdaptersDoNotShareWithEachOtherOrTheModel) {
  const int64_t whole = Run(Prompt("a", 30));
  Request other = Prompt("b", 30);
  other.adapter = std::make_shared<const Adapter>(Adapter{.name = "one", .load_id = 1});
  EXPECT_EQ(Run(other), whole);
  Request second = Prompt("c", 30);
  second.adapter = std::make_shared<const Adapter>(Adapter{.name = "one", .load_id = 2});
  EXPECT_EQ(Run(second), whole);
  other.request_id = "d";
  EXPECT_EQ(Run(other), whole - 24);
}

TEST_F(PrefixTest, WithoutTheCacheEverythingIsComputed) {
  EngineConfig config = Config();
  config.enable_prefix_caching = false;
  EngineHarness harness(config);
  harness.FormGroup();
  const int64_t whole = Run(Prompt("a", 30), harness);
  EXPECT_EQ(Run(Prompt("b", 30), harness), whole);
}

// The others begin from the last token of the prompt, in a copy of its block.
TEST_F(PrefixTest, SeveralAnswersComputeTheirPromptOnce) {
  const int64_t alone = Run(Prompt("a", 30));
  Request request = Prompt("b", 30, /*salt=*/9);
  request.num_choices = 3;
  EXPECT_EQ(Run(request), 30 + 2 * 1 + 3 * (alone - 30));
  EXPECT_EQ(num_copies_, 2);
  // 33 tokens: the last one begins a block, and there is nothing to copy.
  request = Prompt("c", 33, /*salt=*/10);
  request.num_choices = 2;
  EXPECT_EQ(Run(request), 33 + 1 + 2 * (alone - 30));
  EXPECT_EQ(num_copies_, 2);
}

TEST_F(PrefixTest, SeveralAnswersComputeTheirPromptOnceWithoutTheCacheToo) {
  EngineConfig config = Config();
  config.enable_prefix_caching = false;
  EngineHarness harness(config);
  harness.FormGroup();
  const int64_t alone = Run(Prompt("a", 30), harness);
  Request request = Prompt("b", 30);
  request.num_choices = 3;
  EXPECT_EQ(Run(request, harness), 30 + 2 * 1 + 3 * (alone - 30));
}

TEST_F(PrefixTest, APictureInAPrefixIsNotEncodedAgain) {
  Request first = Prompt("a", 40);
  AddImage(first, 2, 20, /*picture=*/1);
  Run(first);
  const size_t num_sent = harness_.images_sent_.size();
  Request second = first;
  second.request_id = "b";
  Run(second);
  EXPECT_EQ(CachedTokens(), 32);
  EXPECT_EQ(harness_.images_sent_.size(), num_sent);
  Request other = Prompt("c", 40);
  AddImage(other, 2, 20, /*picture=*/2);
  Run(other);
  EXPECT_EQ(CachedTokens(), 0);
}

// 32 blocks of 8: prompts of 64 tokens push each other out.
TEST_F(PrefixTest, WhatWasUsedLongestAgoMakesRoom) {
  for (uint64_t salt = 1; salt <= 6; ++salt) Run(Prompt("fill", 64, salt));
  Run(Prompt("again", 64, 6));
  EXPECT_EQ(CachedTokens(), 56);
  Run(Prompt("again", 64, 1));
  EXPECT_LT(CachedTokens(), 56);
}

}  // namespace
}  // namespace longhand::engine
