// Boxes of tensors and the barriers that count them, in the emulation: what they do on a GPU, and
// the faults found.
#include "kernels/cuda/tensor_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

using ::testing::HasSubstr;

constexpr int kColumns = 64, kTurns = 5;
constexpr int kBytes = kColumns * 2;
constexpr size_t kSharedBytes = kBytes + 2 * sizeof(MBarrier);
constexpr LaunchShape kShape = {1, kColumns, kSharedBytes};

struct Shared {
  __device__ Shared()
      : numbers(DynamicShared<uint16_t>()),
        filled(*reinterpret_cast<MBarrier*>(numbers + kColumns)),
        emptied(*(&filled + 1)) {
    if (threadIdx.x == 0) {
      Prepare(filled, 1);
      Prepare(emptied, kColumns);
      PublishPrepared();
    }
    __syncthreads();
  }
  uint16_t* numbers;
  MBarrier &filled, &emptied;
};

// Row after row goes through one place in shared memory; each thread adds up its column.
template <bool kWaits>
__global__ void AddRows(TensorMap map, int* out) {
  const unsigned thread = threadIdx.x;
  Shared shared;
  int sum = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    if (thread == 0) {
      WaitFor(shared.emptied, turn % 2 ^ 1);
      ArriveExpecting(shared.filled, kBytes);
      CopyBox(shared.numbers, map, {0, turn}, shared.filled);
    }
    if (kWaits) WaitFor(shared.filled, turn % 2);
    sum += shared.numbers[thread];
    Arrive(shared.emptied);
  }
  WaitFor(shared.filled, kTurns % 2 ^ 1);
  out[thread] = sum;
}

Result<TensorMap> MapOfRows(const std::vector<uint16_t>& rows,
                            int columns,
                            int box_rows,
                            bool is_swizzled) {
  const int64_t num_rows = static_cast<int64_t>(rows.size()) / columns;
  return MakeTensorMap<2>(rows.data(), {.sizes = {columns, num_rows},
                                        .strides = {0, columns * 2},
                                        .box = {kColumns, box_rows},
                                        .is_swizzled = is_swizzled});
}

struct Outcome {
  Status status;
  std::vector<int> out = std::vector<int>(kColumns);
};
Outcome Launched(uint64_t seed, void (*kernel)(TensorMap, int*)) {
  std::vector<uint16_t> rows(kTurns * kColumns);
  std::iota(rows.begin(), rows.end(), uint16_t{0});
  Stream stream;
  stream.schedule_seed = seed;
  Outcome outcome;
  outcome.status = Launch("AddRows", stream, kShape, kernel, *MapOfRows(rows, kColumns, 1, false),
                          outcome.out.data());
  return outcome;
}

TEST(TensorMap, BoxesComeWhenTheyAreWaitedForInAnySchedule) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Outcome outcome = Launched(seed, &AddRows<true>);
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    for (int i = 0; i < kColumns; ++i) {
      EXPECT_EQ(outcome.out[i], kTurns * i + kColumns * kTurns * (kTurns - 1) / 2);
    }
  }
}

TEST(TensorMap, BoxesDoNotComeBefore) {
  const Outcome outcome = Launched(0, &AddRows<false>);
  EXPECT_TRUE(!outcome.status.ok() || outcome.out[0] >= 0xffff) << "shared memory began as NaN";
}

__global__ void UseUnprepared(TensorMap) {
  Arrive(*reinterpret_cast<MBarrier*>(DynamicShared<uint16_t>()));
}
__global__ void ExpectTooMuch(TensorMap map) {
  Shared shared;
  if (threadIdx.x == 0) {
    ArriveExpecting(shared.filled, kBytes + 16);
    CopyBox(shared.numbers, map, {0, 0}, shared.filled);
  }
  WaitFor(shared.filled, 0);
}
__global__ void ArriveTooOften(TensorMap) {
  Shared shared;
  ArriveExpecting(shared.filled, kBytes);
}
__global__ void EndBeforeCopies(TensorMap map) {
  Shared shared;
  if (threadIdx.x == 0) {
    ArriveExpecting(shared.filled, kBytes);
    CopyBox(shared.numbers, map, {0, 0}, shared.filled);
  }
}
__global__ void CopyToOddPlace(TensorMap map) {
  Shared shared;
  CopyBox(shared.numbers + 1, map, {0, 0}, shared.filled);
}

TEST(TensorMap, FaultsAreNamed) {
  const std::vector<uint16_t> rows(kColumns);
  const TensorMap map = *MapOfRows(rows, kColumns, 1, false);
  const auto message = [&](void (*kernel)(TensorMap)) {
    return std::string(Launch("Faulty", Stream(), kShape, kernel, map).message());
  };
  EXPECT_THAT(message(&UseUnprepared), HasSubstr("that nobody prepared"));
  EXPECT_THAT(message(&ExpectTooMuch), HasSubstr("in mbarrier.try_wait"));
  EXPECT_THAT(message(&ArriveTooOften), HasSubstr("more arrivals"));
  EXPECT_THAT(message(&EndBeforeCopies), HasSubstr("on its way to shared memory"));
  EXPECT_THAT(message(&CopyToOddPlace), HasSubstr("misaligned address"));
}

constexpr int kBoxRows = 8;

__global__ void BringBox(TensorMap map, int column, int row, unsigned char* out) {
  auto* box = AlignShared<1024>(DynamicShared<unsigned char>());
  auto& barrier = *reinterpret_cast<MBarrier*>(box + kBoxRows * kBytes);
  Prepare(barrier, 1);
  ArriveExpecting(barrier, kBoxRows * kBytes);
  CopyBox(box, map, {column, row}, barrier);
  WaitFor(barrier, 0);
  for (int i = 0; i < kBoxRows * kBytes; ++i) out[i] = box[i];
}

TEST(TensorMap, RowsComeSwizzledAndWithZerosBehindTheirEnds) {
  constexpr int kAllColumns = 72, kRows = 5, kColumn = 64, kRow = 2;
  std::vector<uint16_t> rows(kRows * kAllColumns), out(kBoxRows * kColumns);
  std::iota(rows.begin(), rows.end(), uint16_t{1});
  const auto map = MapOfRows(rows, kAllColumns, kBoxRows, true);
  ASSERT_TRUE(map.ok());
  const Status status =
      Launch("BringBox", Stream(), {1, 1, 1024 + kBoxRows * kSharedBytes}, &BringBox, *map, kColumn,
             kRow, reinterpret_cast<unsigned char*>(out.data()));
  ASSERT_TRUE(status.ok()) << status;
  for (int r = 0; r < kBoxRows; ++r) {
    for (int c = 0; c < kColumns; ++c) {
      const bool exists = kRow + r < kRows && kColumn + c < kAllColumns;
      EXPECT_EQ(out[r * kColumns + (c / 8 ^ r) * 8 + c % 8],
                exists ? rows[(kRow + r) * kAllColumns + kColumn + c] : 0);
    }
  }
}

}  // namespace
}  // namespace longhand::kernels::LONGHAND_DEVICE
