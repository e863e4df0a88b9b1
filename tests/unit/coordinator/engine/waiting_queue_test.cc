#include "coordinator/engine/waiting_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/unit/coordinator/engine/request_maker.h"

namespace longhand::engine {
namespace {

using std::chrono::seconds;

class WaitingQueueTest : public testing::Test {
 protected:
  struct Ask {
    std::string tenant;
    int32_t priority = 0;
    int64_t at = 0;       // seconds
    int64_t tokens = 20;  // prompt and expected answer
  };
  Sequence& Add(const Ask& ask) {
    Request request = MakeRequest("r", 10, 100);
    request.tenant = ask.tenant;
    request.priority = ask.priority;
    Sequence& sequence = *sequences_.emplace_back(std::make_unique<Sequence>());
    sequence.id = static_cast<int64_t>(sequences_.size());
    sequence.request = std::make_shared<const Request>(std::move(request));
    sequence.queued_at = TimePoint(seconds(ask.at));
    sequence.expected_tokens = ask.tokens - 10;
    queue_.Add(sequence);
    return sequence;
  }
  int64_t AdmitNext() {
    Sequence* const next = queue_.Next();
    if (next == nullptr) return 0;
    queue_.Admit(*next);
    next->standing.admission = ++num_admitted_;
    queue_.CheckInvariants(static_cast<int64_t>(sequences_.size()));
    return next->id;
  }
  std::string TenantsOfNext(int count) {
    std::string tenants;
    for (int i = 0; i < count; ++i)
      tenants += sequences_[static_cast<size_t>(AdmitNext() - 1)]->request->tenant;
    return tenants;
  }

  EngineConfig config_{.tenant_weights = {{"b", 3}}};
  QueueTotals totals_;
  WaitingQueue queue_{config_, totals_};
  std::vector<std::unique_ptr<Sequence>> sequences_;
  int64_t num_admitted_ = 0;
};

// A level is worth 30 seconds of waiting: what came later than that does not overtake.
TEST_F(WaitingQueueTest, PriorityIsWorthWaiting) {
  const int64_t late = Add({"a", 1, 0}).id;
  const int64_t normal = Add({"a", 0, 29}).id;
  const int64_t later = Add({"a", 0, 31}).id;
  const int64_t urgent = Add({"a", -1, 40}).id;
  for (const int64_t id : {urgent, normal, late, later}) EXPECT_EQ(AdmitNext(), id);
  EXPECT_EQ(AdmitNext(), 0);
}

TEST_F(WaitingQueueTest, EqualsGoByArrival) {
  for (int i = 0; i < 3; ++i) Add({"a"});
  for (const int64_t id : {1, 2, 3}) EXPECT_EQ(AdmitNext(), id);
}

// However many one has queued, and whatever priority it gives them.
TEST_F(WaitingQueueTest, TenantsTakeTurns) {
  for (int i = 0; i < 4; ++i) Add({"a", -100});
  for (int i = 0; i < 2; ++i) Add({"c", 0, 100});
  EXPECT_EQ(TenantsOfNext(6), "acacaa");
}

TEST_F(WaitingQueueTest, TurnsGoByTokensAndWeight) {
  for (int i = 0; i < 6; ++i) Add({"b", 0, 0, 30});  // weight 3: counts 10 each
  for (int i = 0; i < 3; ++i) Add({"a", 0, 0, 20});
  EXPECT_EQ(TenantsOfNext(9), "babbabbab");
}

TEST_F(WaitingQueueTest, WhoWantedNothingIsOwedNothing) {
  for (int i = 0; i < 5; ++i) Add({"a"});
  EXPECT_EQ(TenantsOfNext(3), "aaa");
  for (int i = 0; i < 3; ++i) Add({"c"});
  EXPECT_EQ(TenantsOfNext(4), "caca");
}

// Expected 20 tokens and took 100: the next turns are the other's.
TEST_F(WaitingQueueTest, ATenantPaysForWhatItReallyTook) {
  for (int i = 0; i < 2; ++i) Add({"a"});
  for (int i = 0; i < 4; ++i) Add({"c"});
  EXPECT_EQ(TenantsOfNext(2), "ac");
  Sequence& first = *sequences_[0];
  first.output_token_ids.resize(90);
  queue_.Settle(first);
  std::string tenants;
  for (int i = 0; i < 4; ++i) {
    tenants += queue_.Next()->request->tenant;
    queue_.Admit(*queue_.Next());
  }
  EXPECT_EQ(tenants, "ccca");
}

TEST_F(WaitingQueueTest, WhoRanBeforeComesFirst) {
  Sequence& ran = Add({"a"});
  AdmitNext();
  Add({"c", -100});
  queue_.Add(ran);
  EXPECT_EQ(queue_.size(), 2);
  EXPECT_EQ(totals_.of_tenant("a"), 0);
  EXPECT_EQ(AdmitNext(), ran.id);
}

TEST_F(WaitingQueueTest, ATenantIsForgottenWithItsLastAnswer) {
  Sequence& waits = Add({"a"});
  Sequence& runs = Add({"c"});
  queue_.Remove(waits);
  EXPECT_EQ(queue_.num_tenants(), 1);
  queue_.Admit(runs);
  EXPECT_EQ(queue_.num_tenants(), 1);
  queue_.Settle(runs);
  EXPECT_EQ(queue_.num_tenants(), 0);
}

}  // namespace
}  // namespace longhand::engine
