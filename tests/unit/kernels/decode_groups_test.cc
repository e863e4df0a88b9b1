// How decode attention's tiles lie in shared memory: boxes of a KV cache, and what wgmma makes of
// them.
#include "kernels/cuda/decode_groups.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "common/bf16.h"
#include "kernels/cuda/decode_copier.h"
#include "kernels/cuda/element.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kHeadDim = 128, kKvHeads = 3, kHead = 1, kThreads = 128;

struct Tile {
  alignas(kAtomBytes) unsigned char keys[kGroupTileBytes];
  unsigned char values[kGroupTileBytes];
  unsigned char queries[2 * kQueryHalfBytes];
  unsigned char weights[2 * kAtomBytes];
  MBarrier there;
};

// The blocks of a tile, in order; then its keys times queries, of 8 kTiles rows, and its values
// times weights [key][row].
template <int kTiles>
__global__ void ScoreAndSum(TensorMap cache,
                            const int32_t* blocks,
                            int block_size,
                            int value_group,
                            const DeviceBf16* queries,
                            const DeviceBf16* weights,
                            float* scores,
                            float* sums) {
  auto& tile = *AlignShared<kAtomBytes>(DynamicShared<Tile>());
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarpSize, warp = thread / kWarpSize;
  if (thread == 0) Prepare(tile.there, 1);
  __syncthreads();
  const int box_keys = BoxKeys(block_size), box_bytes = box_keys / 8 * kKeyGroupBytes;
  if (thread == 0) {
    ArriveExpecting(tile.there, 2 * kGroupTileBytes);
    for (int i = 0; i < kTileKeys / box_keys; ++i) {
      const int group = blocks[i] * block_size / 8;
      CopyBox(tile.keys + i * box_bytes, cache, {0, 0, 0, group, kHead}, tile.there);
      CopyBox(tile.values + i * box_bytes, cache, {0, 0, 0, value_group + group, kHead},
              tile.there);
    }
  }
  for (int i = thread; i < 8 * kTiles * kHeadDim / 8; i += kThreads) {
    const int row = i / (kHeadDim / 8), chunk = i % (kHeadDim / 8);
    *reinterpret_cast<uint4*>(tile.queries + chunk / 8 * kQueryHalfBytes +
                              PlaceInAtom(row, chunk)) = reinterpret_cast<const uint4*>(queries)[i];
  }
  uint32_t mine[2 * kTiles];
  for (int i = 0; i < 2 * kTiles; ++i) {
    const int key = warp * 16 + i % 2 * 8 + lane / 4, row = i / 2 * 8 + lane % 4 * 2;
    const DeviceBf16* two = weights + key * 8 * kTiles + row;
    mine[i] = *reinterpret_cast<const uint32_t*>(two);
  }
  StoreMatrixTransposed(tile.weights + (kTiles == 1 ? 0 : lane / 16 * kAtomBytes) +
                            PlaceInAtom(lane % 8, warp * 2 + lane / 8 % 2),
                        mine);
  FenceForWgmma();
  __syncthreads();
  WaitFor(tile.there, 0);
  float d[3][kTiles][4] = {};
  BeginWgmma(d[0]);
  for (int step = 0; step < kHeadDim / 16; ++step) {
    MultiplyShared(d[0], KeysAt(tile.keys, step), QueriesAt(tile.queries, step), step > 0);
  }
  for (int step = 0; step < kTileKeys / 16; ++step) {
    for (int half = 0; half < 2; ++half) {
      MultiplyTransposedShared(d[1 + half], ValuesAt(tile.values, half, step),
                               AtStep(MatrixInShared(tile.weights), step));
    }
  }
  CommitWgmma();
  WaitForWgmma<0>();
  for (int j = 0; j < kTiles; ++j) {
    for (int i = 0; i < 4; ++i) {
      const int at = warp * 16 + i / 2 * 8 + lane / 4, row = 8 * j + lane % 4 * 2 + i % 2;
      scores[at * 8 * kTiles + row] = d[0][j][i];
      sums[at * 8 * kTiles + row] = d[1][j][i];
      sums[(64 + at) * 8 * kTiles + row] = d[2][j][i];
    }
  }
}

// Whole numbers, whose sums are exact.
std::vector<Bf16> SmallNumbers(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Bf16> numbers(count);
  for (Bf16& number : numbers) {
    number = Bf16(static_cast<float>(static_cast<int>(random() % 9) - 4));
  }
  return numbers;
}
const DeviceBf16* OnDevice(const std::vector<Bf16>& numbers) {
  return reinterpret_cast<const DeviceBf16*>(numbers.data());
}

template <int kTiles>
void ExpectProducts(int block_size) {
  constexpr int kRows = 8 * kTiles, kBlocks = 6;
  const size_t slots = static_cast<size_t>(kBlocks) * block_size;
  const std::vector<Bf16> cache = SmallNumbers(2 * slots * kKvHeads * kHeadDim, 3);
  const std::vector<Bf16> queries = SmallNumbers(kRows * kHeadDim, 4);
  const std::vector<Bf16> weights = SmallNumbers(kTileKeys * kRows, 5);
  const std::vector<int32_t> blocks = {4, 1, 5, 0};
  PagedProblem<DecodeGroupTypes> problem{};
  problem.kv_cache = OnDevice(cache);
  problem.num_kv_heads = kKvHeads;
  problem.block_size = block_size;
  problem.num_slots = static_cast<int64_t>(slots);
  const auto map = MapOfCache(problem);
  ASSERT_TRUE(map.ok());
  std::vector<float> scores(kTileKeys * kRows), sums(kHeadDim * kRows);
  const Status status =
      Launch("ScoreAndSum", Stream(), {1, kThreads, sizeof(Tile) + kAtomBytes},
             &ScoreAndSum<kTiles>, *map, blocks.data(), block_size, static_cast<int>(slots / 8),
             OnDevice(queries), OnDevice(weights), scores.data(), sums.data());
  ASSERT_TRUE(status.ok()) << status;
  const auto element = [&](bool is_value, int key, int d) {
    const size_t slot = static_cast<size_t>(blocks[static_cast<size_t>(key / block_size)]) *
                            static_cast<size_t>(block_size) +
                        static_cast<size_t>(key % block_size);
    return static_cast<float>(cache[((is_value ? slots : 0) + slot) * kKvHeads * kHeadDim +
                                    kHead * kHeadDim + static_cast<size_t>(d)]);
  };
  for (int row = 0; row < kRows; ++row) {
    for (int key = 0; key < kTileKeys; ++key) {
      float expected = 0;
      for (int d = 0; d < kHeadDim; ++d) {
        expected += element(false, key, d) * static_cast<float>(queries[row * kHeadDim + d]);
      }
      EXPECT_EQ(scores[key * kRows + row], expected) << "key " << key << ", row " << row;
    }
    for (int d = 0; d < kHeadDim; ++d) {
      float expected = 0;
      for (int key = 0; key < kTileKeys; ++key) {
        expected += element(true, key, d) * static_cast<float>(weights[key * kRows + row]);
      }
      EXPECT_EQ(sums[d * kRows + row], expected) << "element " << d << ", row " << row;
    }
  }
}

TEST(DecodeGroups, BoxesOfTheCacheLieAsTheProductsReadThem) {
  for (const int block_size : {16, 32, 64, 128}) {
    SCOPED_TRACE(block_size);
    ExpectProducts<1>(block_size);
    ExpectProducts<2>(block_size);
  }
}

}  // namespace
}  // namespace longhand::kernels::LONGHAND_DEVICE
