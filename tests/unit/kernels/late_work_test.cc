#include "kernels/emulation/late_work.h"

#include <gtest/gtest.h>

namespace longhand::kernels::emulation {
namespace {

TEST(LateWork, GetsOnByAPieceALookAndThenToTheEnd) {
  LateWork work;
  int done = 0;
  const auto add = [&] {
    work.Add([&] {
      ++done;
      return OkStatus();
    });
  };
  EXPECT_TRUE(*work.Reach(work.end()));
  add();
  add();
  const int64_t place = work.end();
  add();
  EXPECT_EQ(done, 0);
  EXPECT_FALSE(*work.Reach(place));
  EXPECT_EQ(done, 1);
  EXPECT_TRUE(*work.Reach(place));
  EXPECT_EQ(done, 3);
  add();
  EXPECT_TRUE(*work.Reach(place));
  EXPECT_EQ(done, 3);
  EXPECT_EQ(work.DoAll(), OkStatus());
  EXPECT_EQ(done, 4);
}

TEST(LateWork, NothingIsDoneAfterAFailure) {
  LateWork work;
  int done = 0;
  work.Add([] { return Internal("a kernel failed"); });
  work.Add([&] {
    ++done;
    return OkStatus();
  });
  EXPECT_EQ(work.DoAll().code(), StatusCode::kInternal);
  EXPECT_EQ(work.Reach(work.end()).status().code(), StatusCode::kInternal);
  EXPECT_EQ(done, 0);
}

TEST(LateWork, StagingMemoryIsKnownFromItsFirstByteToItsLast) {
  LateWork work;
  const char memory[64] = {};
  work.AddStaging(memory + 16, 32);
  EXPECT_FALSE(work.IsStaging(memory + 15));
  EXPECT_TRUE(work.IsStaging(memory + 16));
  EXPECT_TRUE(work.IsStaging(memory + 47));
  EXPECT_FALSE(work.IsStaging(memory + 48));
  work.RemoveStaging(memory + 16);
  EXPECT_FALSE(work.IsStaging(memory + 16));
}

}  // namespace
}  // namespace longhand::kernels::emulation
