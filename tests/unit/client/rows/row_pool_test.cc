#include "client/rows/row_pool.h"

#include <gtest/gtest.h>

#include <set>

namespace longhand::client {
namespace {

class NoModel final : public ChatModel {
 public:
  Result<ChatReply> Ask(const ChatQuestion&) override { return Internal("nobody asks"); }
};

TEST(ForEachRow, EveryRowIsWorkedOnOnceAndAFailureIsTheRowsAlone) {
  int made = 0;
  std::mutex mutex;
  std::set<std::string> seen;
  RowWork work;
  work.next = [&]() -> Result<std::optional<KeyedRow>> {
    if (made == 100) return std::optional<KeyedRow>();
    return std::optional(KeyedRow{std::to_string(made++), {}});
  };
  work.work = [&](ChatModel&, const KeyedRow& row) -> Status {
    std::lock_guard lock(mutex);
    EXPECT_TRUE(seen.insert(row.key).second);
    return row.key == "7" ? Internal("bad luck") : OkStatus();
  };
  RowProgress progress("testing", true);
  const Status status = ForEachRow(4, [] { return std::make_unique<NoModel>(); }, work, progress);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(seen.size(), 100u);
  EXPECT_EQ(progress.num_failed(), 1);
}

TEST(ForEachRow, AnErrorOfTheDataEndsAll) {
  RowWork work;
  work.next = []() -> Result<std::optional<KeyedRow>> { return Internal("the file is broken"); };
  work.work = [](ChatModel&, const KeyedRow&) { return OkStatus(); };
  RowProgress progress("testing", true);
  EXPECT_EQ(ForEachRow(
                3, [] { return std::make_unique<NoModel>(); }, work, progress),
            Internal("the file is broken"));
}

}  // namespace
}  // namespace longhand::client
