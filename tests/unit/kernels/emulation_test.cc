// What the emulation must do as a GPU does, and the faults that it must find.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <set>
#include <vector>

#include "kernels/cuda/element.h"
#include "kernels/cuda/mma.h"
#include "kernels/cuda/reduce.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr int kThreads = 96;

Stream Shuffled(uint64_t seed) {
  Stream stream;
  stream.schedule_seed = seed;
  return stream;
}

// Every thread writes its number and reads its mirror image's.
template <bool kWithBarrier>
__global__ void Mirror(int* out) {
  int* numbers = DynamicShared<int>();
  numbers[threadIdx.x] = static_cast<int>(threadIdx.x);
  if constexpr (kWithBarrier) __syncthreads();
  out[threadIdx.x] = numbers[blockDim.x - 1 - threadIdx.x];
}

// The numbers go round; in each turn a thread takes its neighbour's. Without the second barrier a
// quick neighbour overwrites what a slow thread has yet to read.
template <bool kWithBarrier>
__global__ void Rotate(int turns, int* out) {
  int* numbers = DynamicShared<int>();
  int mine = static_cast<int>(threadIdx.x);
  for (int turn = 0; turn < turns; ++turn) {
    numbers[threadIdx.x] = mine;
    __syncthreads();
    mine = numbers[(threadIdx.x + 1) % blockDim.x];
    if constexpr (kWithBarrier) __syncthreads();
  }
  out[threadIdx.x] = mine;
}

template <typename Kernel>
std::set<std::vector<int>> ResultsOfSchedules(Kernel&& run) {
  std::set<std::vector<int>> results;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<int> out(kThreads, -1);
    const Status status = run(Shuffled(seed), out.data());
    EXPECT_TRUE(status.ok()) << status;
    results.insert(out);
  }
  return results;
}

TEST(Emulation, ResultsWithEveryBarrierAreThoseOfAGpuInAnySchedule) {
  std::vector<int> mirrored(kThreads), rotated(kThreads);
  std::iota(mirrored.rbegin(), mirrored.rend(), 0);
  for (int i = 0; i < kThreads; ++i) rotated[i] = (i + 5) % kThreads;
  const LaunchShape shape{1, kThreads, kThreads * sizeof(int)};
  EXPECT_THAT(ResultsOfSchedules([&](const Stream& stream, int* out) {
                return Launch("Mirror", stream, shape, &Mirror<true>, out);
              }),
              ElementsAreArray({mirrored}));
  EXPECT_THAT(ResultsOfSchedules([&](const Stream& stream, int* out) {
                return Launch("Rotate", stream, shape, &Rotate<true>, 5, out);
              }),
              ElementsAreArray({rotated}));
}

TEST(Emulation, AMissingBarrierMakesResultsDependOnTheSchedule) {
  const LaunchShape shape{1, kThreads, kThreads * sizeof(int)};
  EXPECT_GT(ResultsOfSchedules([&](const Stream& stream, int* out) {
              return Launch("Mirror", stream, shape, &Mirror<false>, out);
            }).size(),
            1u);
  EXPECT_GT(ResultsOfSchedules([&](const Stream& stream, int* out) {
              return Launch("Rotate", stream, shape, &Rotate<false>, 5, out);
            }).size(),
            1u);
}

__global__ void ReadAt(const float* from, int index, float* out) { *out = from[index]; }

TEST(EmulationDeathTest, AReadPastGlobalMemoryEndsTheProgram) {
  const auto memory = std::make_unique<float[]>(10);
  float out = 0;
  EXPECT_TRUE(Launch("ReadAt", Stream(), {1, 1}, &ReadAt, memory.get(), 9, &out).ok());
  EXPECT_DEATH((void)Launch("ReadAt", Stream(), {1, 1}, &ReadAt, memory.get(), 10, &out),
               "heap-buffer-overflow");
}

__global__ void ReadShared(int index, float* out) { *out = DynamicShared<float>()[index]; }

TEST(EmulationDeathTest, AReadPastDynamicSharedMemoryEndsTheProgram) {
  float out = 0;
  EXPECT_TRUE(Launch("ReadShared", Stream(), {1, 1, 40}, &ReadShared, 9, &out).ok());
  EXPECT_TRUE(std::isnan(out)) << "nobody has written it";
  EXPECT_DEATH((void)Launch("ReadShared", Stream(), {1, 1, 40}, &ReadShared, 10, &out),
               "heap-buffer-overflow");
}

__global__ void ReadStaticShared(int index, float* out) {
  __shared__ float numbers[8];
  numbers[0] = 1;
  *out = numbers[index];
}

TEST(EmulationDeathTest, AnIndexPastStaticSharedMemoryEndsTheProgram) {
  float out = 0;
  EXPECT_DEATH((void)Launch("ReadStaticShared", Stream(), {1, 1}, &ReadStaticShared, 8, &out),
               "index 8 out of bounds");
}

// A vector load needs its alignment on a GPU too.
__global__ void LoadVector(const float* from, float* out) {
  *out = reinterpret_cast<const float4*>(from)->x;
}

TEST(EmulationDeathTest, AMisalignedVectorLoadEndsTheProgram) {
  alignas(16) const float memory[8] = {};
  float out = 0;
  EXPECT_DEATH((void)Launch("LoadVector", Stream(), {1, 1}, &LoadVector, memory + 1, &out),
               "misaligned address");
}

// Lanes from `active` on are somewhere else.
__global__ void SumLanes(int active, bool others_end, int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int sum = lane;
  if (lane < active) {
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
  } else if (others_end) {
    return;
  }
  __syncthreads();
  out[lane] = sum;
}

TEST(Emulation, AShuffleThatALaneIsMissingFromIsReported) {
  std::vector<int> out(32);
  EXPECT_TRUE(Launch("SumLanes", Stream(), {1, 32}, &SumLanes, 32, false, out.data()).ok());
  EXPECT_EQ(out, std::vector<int>(32, 496));
  const Status elsewhere = Launch("SumLanes", Stream(), {1, 32}, &SumLanes, 31, false, out.data());
  EXPECT_EQ(elsewhere.code(), StatusCode::kInternal);
  EXPECT_THAT(elsewhere.message(), HasSubstr("SumLanes, block (0, 0, 0)"));
  EXPECT_THAT(elsewhere.message(), HasSubstr("thread 0 in __shfl_xor_sync with mask ffffffff"));
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const Status ended =
        Launch("SumLanes", Shuffled(seed), {1, 32}, &SumLanes, 31, true, out.data());
    EXPECT_EQ(ended.code(), StatusCode::kInternal) << seed;
    EXPECT_THAT(ended.message(), HasSubstr("__shfl_xor_sync"));
  }
  // What was given up leaves nothing behind.
  EXPECT_TRUE(Launch("SumLanes", Stream(), {1, 32}, &SumLanes, 32, false, out.data()).ok());
}

__global__ void ReadLane(unsigned mask, int source, int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  if ((mask >> lane & 1) == 0) return;
  out[lane] = __shfl_sync(mask, lane * 10, source);
}

TEST(Emulation, AShuffleFromALaneOutsideItsMaskIsReported) {
  std::vector<int> out(32);
  EXPECT_TRUE(Launch("ReadLane", Stream(), {1, 32}, &ReadLane, 0xffffu, 3, out.data()).ok());
  EXPECT_EQ(out[15], 30);
  const Status status = Launch("ReadLane", Stream(), {1, 32}, &ReadLane, 0xffffu, 16, out.data());
  EXPECT_THAT(status.message(), HasSubstr("a lane outside its mask"));
}

__global__ void HalfAtBarrier() {
  if (threadIdx.x < 32) __syncthreads();
  if (threadIdx.x >= 32) __shfl_sync(1u << threadIdx.x % 32, 0, threadIdx.x % 32 + 1);
}

TEST(Emulation, LaunchesThatNoDeviceTakesAreRefused) {
  int out = 0;
  for (const LaunchShape& shape :
       {LaunchShape{1, 1025}, LaunchShape{0, 32}, LaunchShape{dim3(1, 65536), 32},
        LaunchShape{1, 32, 228 << 10}}) {
    const Status status = Launch("ReadShared", Stream(), shape, &ReadShared, 0, nullptr);
    EXPECT_EQ(status.code(), StatusCode::kInternal) << out;
  }
  EXPECT_EQ(Launch("HalfAtBarrier", Stream(), {1, 64}, &HalfAtBarrier).code(),
            StatusCode::kInternal);
}

template <bool kWait>
__global__ void CopyThrough(const uint4* from, uint4* out) {
  auto* shared = DynamicShared<uint4>();
  CopyAsync16(&shared[threadIdx.x], &from[threadIdx.x]);
  CommitCopies();
  if constexpr (kWait) WaitForCopies<0>();
  __syncthreads();
  out[threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
  WaitForCopies<0>();
}

TEST(Emulation, AnAsynchronousCopyLandsWhenItIsWaitedFor) {
  std::vector<uint4> from(64), out(64);
  for (unsigned i = 0; i < 64; ++i) from[i] = make_uint4(i, i, i, i);
  const LaunchShape shape{1, 64, 64 * sizeof(uint4)};
  EXPECT_TRUE(
      Launch("CopyThrough", Stream(), shape, &CopyThrough<true>, from.data(), out.data()).ok());
  EXPECT_EQ(out[5].w, 6u);
  EXPECT_TRUE(
      Launch("CopyThrough", Stream(), shape, &CopyThrough<false>, from.data(), out.data()).ok());
  EXPECT_EQ(out[5].w, 0xffffffffu) << "shared memory as it began";
}

// One matrix product of 16 x 16 and 16 x 8, the operands by ldmatrix: a [m][k], b [n][k], and by
// the transposing one from b_turned [k][n].
__global__ void Multiply(const DeviceBf16* a,
                         const DeviceBf16* b,
                         const DeviceBf16* b_turned,
                         float* out,
                         float* out_turned) {
  auto* shared = DynamicShared<DeviceBf16>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) shared[i] = a[i];
  for (int i = lane; i < 128; i += 32) shared[256 + i] = b[i];
  for (int i = lane; i < 128; i += 32) shared[384 + i] = b_turned[i];
  __syncwarp();
  uint32_t a_parts[4], b_parts[4], turned[4];
  LoadMatrixX4<false>(a_parts, shared + lane % 16 * 16 + lane / 16 * 8);
  // The upper half of the lanes loads the same matrices once more.
  LoadMatrixX4<false>(b_parts, shared + 256 + lane % 8 * 16 + lane / 8 % 2 * 8);
  LoadMatrixX4<true>(turned, shared + 384 + lane % 16 * 8);
  float d[4] = {}, e[4] = {};
  MmaBf16(d, a_parts, {b_parts[0], b_parts[1]});
  MmaBf16(e, a_parts, {turned[0], turned[1]});
  for (int i = 0; i < 4; ++i) {
    const int at = (lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2;
    out[at] = d[i];
    out_turned[at] = e[i];
  }
}

// [16, 32] times [8, 32] in fp8: a lane's registers are four neighbours of k each.
__global__ void MultiplyFp8(const uint32_t* a, const uint32_t* b, float* out) {
  const int group = static_cast<int>(threadIdx.x) / 4, place = static_cast<int>(threadIdx.x) % 4;
  const uint32_t a_parts[4] = {a[group * 8 + place], a[(group + 8) * 8 + place],
                               a[group * 8 + 4 + place], a[(group + 8) * 8 + 4 + place]};
  float d[4] = {};
  MmaFp8(d, a_parts, {b[group * 8 + place], b[group * 8 + 4 + place]});
  for (int i = 0; i < 4; ++i) {
    out[(group + i / 2 * 8) * 8 + place * 2 + i % 2] = d[i] * kTwoFp8Factors;
  }
}

TEST(Emulation, ProductsOfFp8AreThoseOfPlainLoops) {
  std::vector<Fp8E4M3> a(16 * 32), b(8 * 32);
  std::vector<float> expected(128, 0), out(128);
  const auto small = [](size_t i) { return std::ldexp(static_cast<float>(i * 37 % 15) - 7, -4); };
  for (size_t i = 0; i < a.size(); ++i) a[i] = Fp8E4M3(small(i));
  for (size_t i = 0; i < b.size(); ++i) b[i] = Fp8E4M3(small(3 * i + 1));
  for (size_t i = 0; i < expected.size(); ++i) {
    for (size_t k = 0; k < 32; ++k) {
      expected[i] += static_cast<float>(a[i / 8 * 32 + k]) * static_cast<float>(b[i % 8 * 32 + k]);
    }
  }
  const Status status =
      Launch("MultiplyFp8", Stream(), {1, 32}, &MultiplyFp8, reinterpret_cast<uint32_t*>(a.data()),
             reinterpret_cast<uint32_t*>(b.data()), out.data());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(out, expected);
}

TEST(Emulation, TensorCoreProductsAreThoseOfPlainLoops) {
  std::vector<DeviceBf16> a(256), b(128), b_turned(128);
  std::vector<float> expected(128, 0), out(128), out_turned(128);
  const auto small = [](int i) { return static_cast<float>(i * 37 % 19 - 9); };
  for (int i = 0; i < 256; ++i) a[i].bits = Bf16(small(i)).bits;
  for (int n = 0; n < 8; ++n) {
    for (int k = 0; k < 16; ++k) {
      b[n * 16 + k].bits = b_turned[k * 8 + n].bits = Bf16(small(n * 29 + k)).bits;
      for (int m = 0; m < 16; ++m) expected[m * 8 + n] += small(m * 16 + k) * small(n * 29 + k);
    }
  }
  const Status status = Launch("Multiply", Stream(), {1, 32, 1024}, &Multiply, a.data(), b.data(),
                               b_turned.data(), out.data(), out_turned.data());
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(out, expected);
  EXPECT_EQ(out_turned, expected);
}

__global__ void LoadOutside() {
  uint32_t out[4];
  LoadMatrixX4<false>(out, DynamicShared<char>() + threadIdx.x * 16);
}

TEST(Emulation, AMatrixLoadOutsideSharedMemoryIsReported) {
  EXPECT_TRUE(Launch("LoadOutside", Stream(), {1, 32, 512}, &LoadOutside).ok());
  EXPECT_THAT(Launch("LoadOutside", Stream(), {1, 32, 511}, &LoadOutside).message(),
              HasSubstr("ldmatrix outside the block's 511 bytes of shared memory, at 496"));
}

__global__ void SumBlock(int* out) {
  __shared__ int scratch[kWarpSize];
  const int sum =
      ReduceBlock(static_cast<int>(threadIdx.x), scratch, [](int a, int b) { return a + b; });
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

TEST(Emulation, ABlockReductionGivesEveryThreadTheSum) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    std::vector<int> out(3 * 1024, -1);
    ASSERT_TRUE(Launch("SumBlock", Shuffled(seed), {3, 1024}, &SumBlock, out.data()).ok());
    EXPECT_EQ(out, std::vector<int>(3 * 1024, 1023 * 512));
  }
}

__global__ void Write(int* numbers) { numbers[threadIdx.x] = static_cast<int>(threadIdx.x); }

enum class Wait { kBeforeReading, kAfterReading, kNever };

template <Wait kWait>
__global__ void Read(const int* numbers, int* out) {
  int* of_warp = DynamicShared<int>();
  LetNextBegin();
  if (kWait == Wait::kBeforeReading) WaitForPrevious();
  of_warp[threadIdx.x] = numbers[threadIdx.x];
  if (kWait == Wait::kAfterReading) WaitForPrevious();
  __syncwarp();
  out[threadIdx.x] = of_warp[(threadIdx.x + 1) % kWarpSize];
}

template <Wait kWait>
Status WriteAndRead(uint64_t seed, std::vector<int>& out) {
  std::vector<int> numbers(kWarpSize, -1);
  out.assign(kWarpSize, -2);
  const Stream stream = Shuffled(seed);
  const LaunchShape shape{1, kWarpSize, kWarpSize * sizeof(int), /*begins_early=*/true};
  return emulation::LaunchTogether(
      {[&] { return Launch("Write", stream, {1, kWarpSize}, &Write, numbers.data()); }, false},
      {[&] { return Launch("Read", stream, shape, &Read<kWait>, numbers.data(), out.data()); },
       true});
}

TEST(Emulation, ALaunchThatBeginsEarlySeesTheOneBeforeOnlyBehindItsWait) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    std::vector<int> out;
    Status status = WriteAndRead<Wait::kBeforeReading>(seed, out);
    ASSERT_TRUE(status.ok()) << status;
    for (int i = 0; i < kWarpSize; ++i) EXPECT_EQ(out[i], (i + 1) % kWarpSize);
    status = WriteAndRead<Wait::kAfterReading>(seed, out);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(out, std::vector<int>(kWarpSize, -1)) << "what was there before";
  }
}

TEST(Emulation, ABlockThatBeginsEarlyAndWaitsForNothingIsReported) {
  std::vector<int> out;
  EXPECT_THAT(WriteAndRead<Wait::kNever>(0, out).message(),
              HasSubstr("ended without a wait for the launch before"));
}

TEST(Emulation, WhereTheLaunchBeforeFailsItsFailureIsReported) {
  std::vector<int> numbers(kWarpSize), out(kWarpSize);
  const LaunchShape shape{1, kWarpSize, kWarpSize * sizeof(int), /*begins_early=*/true};
  const Status status = emulation::LaunchTogether(
      {[] { return Internal("it was that one"); }, false},
      {[&] {
         return Launch("Read", Stream(), shape, &Read<Wait::kBeforeReading>, numbers.data(),
                       out.data());
       },
       true});
  EXPECT_EQ(status.message(), "it was that one");
  EXPECT_EQ(WriteAndRead<Wait::kBeforeReading>(0, out), OkStatus());
}

}  // namespace
}  // namespace longhand::kernels::LONGHAND_DEVICE
