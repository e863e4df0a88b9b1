// Reading what is kept while the store has its file open, and that it has it alone.
#include "coordinator/journal/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/journal/database.h"
#include "coordinator/journal/store.h"
#include "tests/testing/temp_directory.h"

namespace longhand::journal {
namespace {

using ::longhand::testing::TempDirectory;
using ::testing::HasSubstr;

class ReaderTest : public ::testing::Test {
 protected:
  void Write(const Entry& entry) {
    ASSERT_EQ(store_->Write(std::vector<Entry>{entry}, WallTime()), OkStatus());
  }

  const TempDirectory directory_;
  const std::unique_ptr<Store> store_ = Store::Open(directory_.path(), Sync::kProcess).value();
};

TEST_F(ReaderTest, ARequestIsReadAsFarAsItIsWritten) {
  StoredRequest request{.request_id = "a", .payload = "write"};
  Write(RequestEntry{"a", "write"});
  EXPECT_EQ(*ReadRequest(directory_.path(), "a"), request);
  Write(EventEntry{"a", 1, "token"});
  request.events.push_back({1, "token"});
  EXPECT_EQ(*ReadRequest(directory_.path(), "a"), request);
  Write(EndEntry{"a", "OK"});
  request.end = "OK";
  EXPECT_EQ(*ReadRequest(directory_.path(), "a"), request);
  EXPECT_EQ(*ReadRequest(directory_.path(), "b"), std::nullopt);
}

TEST_F(ReaderTest, DamagedRecordsAreNotShown) {
  Write(RequestEntry{"a", "write"});
  Write(EventEntry{"a", 1, "token"});
  Write(EndEntry{"a", "OK"});
  Result<Database> other = Database::Open(FilePath(directory_.path()), Database::Mode::kReadWrite);
  for (const char* damage : {"UPDATE requests SET end = 'no'",
                             "UPDATE chunks SET records = substr(records, 1, 28) || x'00'",
                             "UPDATE requests SET payload = 'read'"}) {
    ASSERT_EQ(other->Execute(damage), OkStatus());
    const auto read = ReadRequest(directory_.path(), "a");
    EXPECT_EQ(read.status().ToString(), "DATA_LOSS: the records of request 'a' are damaged");
  }
}

TEST_F(ReaderTest, TwoStoresDoNotShareADirectory) {
  const auto second = Store::Open(directory_.path(), Sync::kProcess);
  EXPECT_EQ(second.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(second.status().message(), HasSubstr("is the journal of another coordinator"));
}

TEST_F(ReaderTest, AFileThatIsTooLargeLosesNoMoreThanItMust) {
  for (const char* id : {"a", "b", "c", "d"}) {
    Write(RequestEntry{id, std::string(50'000, 'x')});
    Write(EndEntry{id, "OK"});
  }
  ASSERT_EQ(
      store_->Prune({.max_age = std::chrono::hours(1), .max_bytes = 140'000}, WallTime()).status(),
      OkStatus());
  EXPECT_FALSE(ReadRequest(directory_.path(), "b")->has_value());
  EXPECT_TRUE(ReadRequest(directory_.path(), "c")->has_value());
}

}  // namespace
}  // namespace longhand::journal
