#include "coordinator/api/adapter_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/temp_directory.h"
#include "tests/testing/tiny_adapter.h"

namespace longhand::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class AdapterTableTest : public ::testing::Test {
 protected:
  AdapterTableTest() {
    for (const uint32_t seed : {1u, 2u, 3u})
      testing::WriteAdapter(Directory(seed), model_, {.seed = seed});
  }
  std::filesystem::path Directory(uint32_t seed) const { return directory_ / std::to_string(seed); }
  // Places at once, with what `placed_` says; or, with `waits_`, when the test does.
  void Place(const engine::Adapter& adapter, AdapterTable::Done done) {
    slots_.push_back(adapter.slot);
    if (waits_) {
      waiting_.push_back(std::move(done));
    } else {
      done(placed_);
    }
  }
  Status Load(const std::string& name, uint32_t seed) {
    const auto result = std::make_shared<Status>(Unavailable("it waits"));
    table_->Load(name, Directory(seed), [result](const Status& status) { *result = status; });
    return *result;
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const AdapterTable::Held& adapter : table_->List()) names.push_back(adapter->name);
    return names;
  }

  const ModelConfig model_ = testing::TinyConfig();
  const testing::TempDirectory directory_;
  Status placed_;
  bool waits_ = false;
  std::vector<AdapterTable::Done> waiting_;
  std::vector<int32_t> slots_, vacated_;
  std::optional<AdapterTable> table_{
      std::in_place,
      AdapterTable::Parts{
          .model = model_,
          .served_model_name = "base",
          .max_loras = 2,
          .max_lora_rank = 8,
          .metrics = NoMetrics(),
          .place = [this](const engine::Adapter& adapter,
                          AdapterTable::Done done) { Place(adapter, std::move(done)); },
          .vacate = [this](int32_t slot) { vacated_.push_back(slot); }}};
};

TEST_F(AdapterTableTest, AdaptersHaveSlotsOfTheirOwnUntilAllAreTaken) {
  EXPECT_EQ(table_->Add("one", Directory(1)), OkStatus());
  EXPECT_EQ(Load("two", 2), OkStatus());
  EXPECT_THAT(Names(), ElementsAre("one", "two"));
  EXPECT_NE((*table_->Find("one"))->digest, (*table_->Find("two"))->digest);
  EXPECT_TRUE((*table_->Find("one"))->changes_images);
  EXPECT_EQ(Load("two", 3).code(), StatusCode::kAlreadyExists);
  const Status full = Load("three", 3);
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(full.message(), HasSubstr("at most 2"));
  EXPECT_THAT(slots_, ElementsAre(0, 1));
}

TEST_F(AdapterTableTest, UnloadingWaitsForThoseWhoHoldTheAdapter) {
  ASSERT_EQ(Load("one", 1), OkStatus());
  AdapterTable::Held held = *table_->Find("one");
  std::optional<Status> unloaded;
  table_->Unload("one", [&](const Status& status) { unloaded = status; });
  EXPECT_EQ(table_->Find("one").status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(unloaded.has_value());
  EXPECT_TRUE(vacated_.empty());
  // Its slot is not free: another one has the next.
  ASSERT_EQ(Load("one", 2), OkStatus());
  EXPECT_EQ((*table_->Find("one"))->slot, 1);
  EXPECT_GT((*table_->Find("one"))->load_id, held->load_id);
  held.reset();
  EXPECT_EQ(unloaded, OkStatus());
  EXPECT_THAT(vacated_, ElementsAre(0));
  ASSERT_EQ(Load("three", 3), OkStatus());
  EXPECT_EQ((*table_->Find("three"))->slot, 0);
  table_->Unload("four", [&](const Status& status) { unloaded = status; });
  EXPECT_EQ(unloaded->code(), StatusCode::kNotFound);
}

TEST_F(AdapterTableTest, AnAdapterIsFoundWhenAllRanksHaveIt) {
  waits_ = true;
  EXPECT_EQ(Load("one", 1), Unavailable("it waits"));
  EXPECT_EQ(table_->Find("one").status().code(), StatusCode::kNotFound);
  EXPECT_TRUE(Names().empty());
  std::exchange(waiting_, {}).front()(OkStatus());
  EXPECT_TRUE(table_->Find("one").ok());
}

TEST_F(AdapterTableTest, WhatARankCannotReadIsGoneAgain) {
  placed_ = NotFound("rank 1 has no such file");
  EXPECT_EQ(Load("one", 1), placed_);
  EXPECT_FALSE(table_->Find("one").ok());
  EXPECT_THAT(vacated_, ElementsAre(0));
  placed_ = OkStatus();
  EXPECT_EQ(Load("one", 1), OkStatus());
}

TEST_F(AdapterTableTest, NamesAndFilesThatCannotBeAreRefused) {
  for (const std::string& name : {std::string(), std::string("a b"), std::string("base"),
                                  std::string(129, 'a'), std::string("new\nline")}) {
    EXPECT_EQ(Load(name, 1).code(), StatusCode::kInvalidArgument) << name;
  }
  EXPECT_EQ(Load("none", 9).code(), StatusCode::kNotFound);
  testing::WriteAdapter(Directory(1), model_, {.rank = 9});
  EXPECT_EQ(Load("large", 1).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(slots_.empty());
}

TEST_F(AdapterTableTest, ARequestOfAnEarlierCoordinatorGetsTheAdapterItHadOrNone) {
  ASSERT_EQ(Load("one", 1), OkStatus());
  const std::string digest = (*table_->Find("one"))->digest;
  const Result<AdapterTable::Held> found = table_->Restore("one", Directory(1), digest);
  EXPECT_EQ(*found, *table_->Find("one"));
  const Result<AdapterTable::Held> loaded = table_->Restore("two", Directory(1), digest);
  EXPECT_EQ(*loaded, *table_->Find("two"));
  EXPECT_EQ(table_->Restore("three", Directory(2), digest).status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_THAT(Names(), ElementsAre("one", "two"));
}

TEST_F(AdapterTableTest, OneThatIsRestoredBesideAnotherOfItsNameIsThereForThoseWhoHoldIt) {
  ASSERT_EQ(Load("one", 2), OkStatus());
  const AdapterTable::Held newer = *table_->Find("one");
  ASSERT_EQ(Load("two", 1), OkStatus());
  const std::string digest = (*table_->Find("two"))->digest;
  table_->Unload("two", [](const Status&) {});
  AdapterTable::Held older = *table_->Restore("one", Directory(1), digest);
  EXPECT_EQ(older->digest, digest);
  EXPECT_NE(older->slot, newer->slot);
  EXPECT_EQ(*table_->Restore("one", Directory(1), digest), older);
  EXPECT_EQ(*table_->Find("one"), newer);
  vacated_.clear();
  older.reset();
  EXPECT_THAT(vacated_, ElementsAre(1));
}

TEST_F(AdapterTableTest, WhoeverWaitsIsToldWhenTheCoordinatorStops) {
  ASSERT_EQ(Load("one", 1), OkStatus());
  const AdapterTable::Held held = *table_->Find("one");
  std::optional<Status> unloaded;
  table_->Unload("one", [&](const Status& status) { unloaded = status; });
  table_->Stop();
  EXPECT_EQ(unloaded->code(), StatusCode::kUnavailable);
}

TEST_F(AdapterTableTest, AnAdapterThatIsHeldMayOutliveTheTable) {
  ASSERT_EQ(Load("one", 1), OkStatus());
  const AdapterTable::Held held = *table_->Find("one");
  table_.reset();
  EXPECT_EQ(held->name, "one");
}

}  // namespace
}  // namespace longhand::api
