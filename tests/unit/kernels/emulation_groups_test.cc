// What warpgroups do beside each other: barriers in shared memory, and products that are waited
// for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "common/bf16.h"
#include "kernels/cuda/attention_wgmma.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/mbarrier.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

using ::testing::HasSubstr;

Stream Shuffled(uint64_t seed) {
  Stream stream;
  stream.schedule_seed = seed;
  return stream;
}

struct Mailbox {
  MBarrier there, free;
  int number[kWarpSize];
};

// The first warp sends numbers through one place, the second adds them up.
template <bool kWaitsForFree>
__global__ void Send(int count, int* sums) {
  Mailbox& box = *DynamicShared<Mailbox>();
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  if (threadIdx.x == 0) {
    Prepare(box.there, kWarpSize);
    Prepare(box.free, kWarpSize);
  }
  __syncthreads();
  if (threadIdx.x < kWarpSize) {
    for (int i = 0; i < count; ++i) {
      if (kWaitsForFree) WaitFor(box.free, i % 2 ^ 1);
      box.number[(lane + 1) % kWarpSize] = i;
      Arrive(box.there);
    }
    return;
  }
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    WaitFor(box.there, i % 2);
    sum += box.number[lane];
    Arrive(box.free);
  }
  sums[lane] = sum;
}

constexpr LaunchShape kTwoWarps{1, 2 * kWarpSize, sizeof(Mailbox)};

TEST(EmulatedGroups, WhatBarriersInSharedMemoryHandOnIsTheSameInAnySchedule) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<int> sums(kWarpSize);
    const Status status = Launch("Send", Shuffled(seed), kTwoWarps, &Send<true>, 7, sums.data());
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(sums, std::vector<int>(kWarpSize, 21)) << seed;
  }
}

TEST(EmulatedGroups, APlaceThatIsNotWaitedForShows) {
  bool shows = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<int> sums(kWarpSize);
    const Status status = Launch("Send", Shuffled(seed), kTwoWarps, &Send<false>, 7, sums.data());
    shows = shows || !status.ok() || sums != std::vector<int>(kWarpSize, 21);
  }
  EXPECT_TRUE(shows);
}

__global__ void WaitOnly(bool prepare) {
  MBarrier& barrier = *DynamicShared<MBarrier>();
  if (prepare && threadIdx.x == 0) Prepare(barrier, 1);
  __syncthreads();
  WaitFor(barrier, 0);
}

TEST(EmulatedGroups, ABarrierThatNobodyPreparedOrArrivesAtIsReported) {
  const LaunchShape shape{1, kWarpSize, sizeof(MBarrier)};
  EXPECT_THAT(Launch("WaitOnly", Stream(), shape, &WaitOnly, false).message(),
              HasSubstr("nobody prepared"));
  EXPECT_THAT(Launch("WaitOnly", Stream(), shape, &WaitOnly, true).message(),
              HasSubstr("threads wait for each other forever: thread 0 in mbarrier.try_wait"));
}

// Warp 0 arrives and goes on; warp 1 waits for it.
__global__ void ArriveAndGo(int* out) {
  int* number = DynamicShared<int>();
  if (threadIdx.x < kWarpSize) {
    number[threadIdx.x] = 5;
    ArriveAt(3, 2 * kWarpSize);
    return;
  }
  WaitAt(3, 2 * kWarpSize);
  out[threadIdx.x - kWarpSize] = number[threadIdx.x - kWarpSize];
}

TEST(EmulatedGroups, AWarpMayArriveAtABarrierWithoutWaiting) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    std::vector<int> out(kWarpSize);
    const LaunchShape shape{1, 2 * kWarpSize, kWarpSize * sizeof(int)};
    ASSERT_TRUE(Launch("ArriveAndGo", Shuffled(seed), shape, &ArriveAndGo, out.data()).ok());
    EXPECT_EQ(out, std::vector<int>(kWarpSize, 5));
  }
}

// Warp 0 copies, and what it has copied arrives at the barrier; warp 1 reads.
template <bool kWaits>
__global__ void CopyAndTell(const uint4* from, uint4* out) {
  struct Shared {
    uint4 chunks[kWarpSize];
    MBarrier there;
  };
  Shared& shared = *DynamicShared<Shared>();
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  if (threadIdx.x == 0) Prepare(shared.there, kWarpSize);
  __syncthreads();
  if (threadIdx.x < kWarpSize) {
    CopyAsync16(&shared.chunks[lane], &from[lane]);
    ArriveAfterCopies(shared.there);
    CommitCopies();
    if (kWaits) WaitForCopies<0>();
    return;
  }
  WaitFor(shared.there, 0);
  out[lane] = shared.chunks[(lane + 1) % kWarpSize];
}

TEST(EmulatedGroups, CopiesArriveAtABarrierWhenTheyHaveLanded) {
  std::vector<uint4> from(kWarpSize);
  for (unsigned i = 0; i < kWarpSize; ++i) from[i] = make_uint4(i, i, i, i);
  const LaunchShape shape{1, 2 * kWarpSize, (kWarpSize + 1) * sizeof(uint4)};
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<uint4> out(kWarpSize);
    const Status status =
        Launch("CopyAndTell", Shuffled(seed), shape, &CopyAndTell<true>, from.data(), out.data());
    ASSERT_TRUE(status.ok()) << status;
    for (unsigned i = 0; i < kWarpSize; ++i) EXPECT_EQ(out[i].w, (i + 1) % kWarpSize) << seed;
  }
  std::vector<uint4> out(kWarpSize);
  EXPECT_THAT(Launch("CopyAndTell", Stream(), shape, &CopyAndTell<false>, from.data(), out.data())
                  .message(),
              HasSubstr("ended before its asynchronous copies"));
}

enum class Fault { kNone, kReadsEarly, kOverwrites, kNeverWaits };

// 64 rows of 16 in registers, all ones, times 16 rows of 88, of which row k is all k: sums of 120.
template <Fault kFault>
__global__ void MultiplyOnes(float* out) {
  constexpr int kColumns = 88;
  auto* tile = AlignShared<1024>(DynamicShared<unsigned char>());
  const int thread = static_cast<int>(threadIdx.x);
  const auto fill = [&](float scale) {
    for (int i = thread; i < 16 * kColumns / 2; i += 128) {
      const int row = i / (kColumns / 2), pair = i % (kColumns / 2);
      const float value = scale * static_cast<float>(row);
      *reinterpret_cast<uint32_t*>(tile + PlaceInAtoms(row, pair / 4) + pair % 4 * 4) =
          PackBf16(value, value);
    }
  };
  fill(1);
  FenceForWgmma();
  __syncthreads();
  constexpr uint32_t kOnes = 0x3f803f80;
  uint32_t a[1][4] = {{kOnes, kOnes, kOnes, kOnes}};
  float d[kColumns / 8][4] = {};
  PinOperands(a);
  BeginWgmma(d);
  MultiplyTransposed(d, a[0], TransposedInShared(tile), true);
  CommitWgmma();
  if (kFault == Fault::kOverwrites) fill(2);
  if (kFault == Fault::kOverwrites) __syncthreads();
  if (kFault == Fault::kReadsEarly) out[thread] = d[10][3];
  if (kFault == Fault::kNeverWaits) return;
  WaitForWgmma<0>();
  PinSums(d);
  if (kFault != Fault::kReadsEarly) out[thread] = d[10][3];
}

template <Fault kFault>
Status RunOnes(std::vector<float>& out) {
  out.assign(128, -1);
  return Launch("MultiplyOnes", Stream(), {1, 128, 2 * kKeyAtomBytes + 1024}, &MultiplyOnes<kFault>,
                out.data());
}

TEST(EmulatedGroups, AProductIsDoneWhenItIsWaitedFor) {
  std::vector<float> out;
  ASSERT_TRUE(RunOnes<Fault::kNone>(out).ok());
  EXPECT_EQ(out, std::vector<float>(128, 120));
  ASSERT_TRUE(RunOnes<Fault::kReadsEarly>(out).ok());
  EXPECT_EQ(out, std::vector<float>(128, 0)) << "the sums as they began";
  ASSERT_TRUE(RunOnes<Fault::kOverwrites>(out).ok());
  EXPECT_EQ(out, std::vector<float>(128, 240)) << "of what was written over the operand";
  EXPECT_THAT(RunOnes<Fault::kNeverWaits>(out).message(), HasSubstr("ended before its wgmma"));
}

// 64 rows of ones times eight rows of 16 elements, two chunks each, that cp.async brings.
template <bool kFences>
__global__ void MultiplyCopied(const uint4* chunks, float* out) {
  auto* tile = AlignShared<1024>(DynamicShared<unsigned char>());
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < 16) CopyAsync16(tile + PlaceInAtoms(thread / 2, thread % 2), &chunks[thread]);
  CommitCopies();
  WaitForCopies<0>();
  if (kFences) FenceForWgmma();
  __syncthreads();
  constexpr uint32_t kOnes = 0x3f803f80;
  const uint32_t a[4] = {kOnes, kOnes, kOnes, kOnes};
  float d[1][4];
  BeginWgmma(d);
  MultiplyRegisters<false>(d, a, MatrixInShared(tile), false);
  CommitWgmma();
  WaitForWgmma<0>();
  PinSums(d);
  out[thread] = d[0][0];
}

TEST(EmulatedGroups, AProductOfWhatWasCopiedWithoutAFenceIsReported) {
  constexpr uint32_t kTwos = 0x40004000;
  const std::vector<uint4> chunks(16, make_uint4(kTwos, kTwos, kTwos, kTwos));
  std::vector<float> out(128, -1);
  const LaunchShape shape{1, 128, kKeyAtomBytes + 1024};
  const Status status =
      Launch("MultiplyCopied", Stream(), shape, &MultiplyCopied<true>, chunks.data(), out.data());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(out, std::vector<float>(128, 32));
  EXPECT_THAT(
      Launch("MultiplyCopied", Stream(), shape, &MultiplyCopied<false>, chunks.data(), out.data())
          .message(),
      HasSubstr("wgmma reads what was written without a fence behind it"));
}

}  // namespace
}  // namespace longhand::kernels::LONGHAND_DEVICE
