#include "worker/model/memory_budget.h"

#include <gtest/gtest.h>

namespace longhand::model {
namespace {

MemoryBudget Budget(bool has_own_memory) {
  MemoryBudget budget{.parts = {}, .has_own_memory = has_own_memory};
  budget.Add("KV cache", int64_t{3} << 20);
  budget.Add("staging", int64_t{1} << 20, MemoryBudget::Place::kHost);
  budget.Add("image embeddings", 0);
  budget.Add("CUDA", int64_t{2} << 30, MemoryBudget::Place::kLibraries);
  return budget;
}

TEST(MemoryBudgetTest, AGpuSumsItsOwnPartsAndNamesTheOthersBelow) {
  EXPECT_EQ(Budget(true).total_bytes(), int64_t{3} << 20);
  EXPECT_EQ(ToTable(Budget(true)),
            "KV cache                                3.0 MiB\n"
            "in all                                  3.0 MiB\n"
            "staging                                 1.0 MiB of the host\n"
            "CUDA                                 2048.0 MiB kept free beside\n");
}

TEST(MemoryBudgetTest, AHostHasOneMemoryForAll) {
  EXPECT_EQ(Budget(false).total_bytes(), int64_t{4} << 20);
}

}  // namespace
}  // namespace longhand::model
