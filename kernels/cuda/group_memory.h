// What the warpgroups of a block share when they do attention (attention_groups.h): shared memory,
// barriers, registers.
#pragma once

#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/attention_wgmma.h"
#include "kernels/cuda/mbarrier.h"

namespace longhand::kernels::LONGHAND_DEVICE {

constexpr int kGroupWarps = 4, kGroupThreads = kGroupWarps * kWarpSize;
constexpr int kGroupRows = kGroupWarps * kWarpRows;

// kGroups warpgroups share kStages tiles of keys and of values.
template <int kHeadDimValue,
          int kGroupsValue,
          int kStagesValue,
          bool kSplitsValue,
          bool kRegistersValue,
          bool kOnesValue>
struct GroupTypes {
  using Types = AttentionTypes<DeviceBf16, DeviceBf16, kHeadDimValue>;
  static constexpr int kHeadDim = kHeadDimValue;
  static constexpr int kGroups = kGroupsValue;
  static constexpr int kStages = kStagesValue;
  static constexpr bool kSplits = kSplitsValue;
  static constexpr bool kQueriesInRegisters = kRegistersValue;
  static constexpr bool kOnes = kOnesValue;
  static constexpr int kRows = kGroups * kGroupRows;
  static constexpr int kThreads = (kGroups + 1) * kGroupThreads;
  static constexpr int kSteps = kHeadDim / 16;
  // With ones: eight more elements of each value, all 1, whose sums are the weights'. Else mma.sync
  // adds the weights up.
  static constexpr int kValueTiles = kHeadDim / 8, kSumTile = kValueTiles;
  static constexpr int kAllTiles = kValueTiles + (kOnes ? 1 : 0);
  static constexpr int kKeyBytes = (kHeadDim + 63) / 64 * kKeyAtomBytes;
  static constexpr int kValueBytes = (kHeadDim + (kOnes ? 8 : 0) + 63) / 64 * kKeyAtomBytes;
  // Of a thread that multiplies, and of one that copies; together what a multiprocessor has.
  static constexpr int kMultiplyRegisters = kGroups == 2 ? 224 : 160;
  static constexpr int kCopyRegisters = kGroups == 2 ? 56 : 32;
};

template <typename Group>
struct GroupMemory {
  alignas(1024) unsigned char keys[Group::kStages][Group::kKeyBytes];
  unsigned char values[Group::kStages][Group::kValueBytes];
  unsigned char queries[Group::kQueriesInRegisters ? 1 : Group::kGroups][Group::kKeyBytes];
  MBarrier keys_there[Group::kStages], keys_free[Group::kStages];
  MBarrier values_there[Group::kStages], values_free[Group::kStages];

  static constexpr size_t Bytes() { return sizeof(GroupMemory) + 1024; }
};

// The same in all lanes, of which the compiler is told.
__device__ __forceinline__ int GroupOfThread() {
  return __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / kGroupThreads, 0);
}

// Where the i-th tile that goes through a block lies, and the parity of its phase there.
template <typename Group>
struct Turn {
  int stage, parity;
  __device__ __forceinline__ explicit Turn(unsigned i)
      : stage(static_cast<int>(i % Group::kStages)),
        parity(static_cast<int>(i / Group::kStages % 2)) {}
};

// By all threads, before anything else.
template <typename Group>
__device__ GroupMemory<Group>& PrepareMemory() {
  auto& memory = *reinterpret_cast<GroupMemory<Group>*>(AlignShared<1024>(DynamicShared<char>()));
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Group::kStages; ++stage) {
      Prepare(memory.keys_there[stage], kGroupThreads);
      Prepare(memory.values_there[stage], kGroupThreads);
      Prepare(memory.keys_free[stage], Group::kGroups * kGroupWarps);
      Prepare(memory.values_free[stage], Group::kGroups * kGroupWarps);
    }
  }
  constexpr unsigned kOnes = 0x3f803f80;
  for (int i = threadIdx.x; Group::kOnes && i < Group::kStages * kTileKeys; i += Group::kThreads) {
    unsigned char* tile = memory.values[i / kTileKeys];
    *reinterpret_cast<uint4*>(tile + PlaceInAtoms(i % kTileKeys, Group::kHeadDim / 8)) = {
        kOnes, kOnes, kOnes, kOnes};
  }
  FenceForWgmma();
  __syncthreads();
  return memory;
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
