// Rotary positions: the M-RoPE table, the decoder's bias + rotation + cache write in one pass, and
// the ViT's rotation.
//
//   qkv           [T, (H + 2 K) * D]                f32 or bf16: queries, keys, values
//   bias          [(H + 2 K) * D]                   f32, or absent
//   cos, sin      [T, D / 2]                        f32
//   slot_mapping  [T]                               i64; -1 is padding
//   query         [T, H, D]                         as qkv
//   kv_cache      [2, num_blocks, block_size, K, D] f32, bf16, int8 or fp8; 0 = keys, 1 = values
//   kv_scales     [2, num_blocks, block_size, K]    f32, with 8 bits
//
// Launch     a block of 128 threads for each token; a thread turns eight elements of a head's first
//            half with the eight of its second. A row in 8 bits is turned twice: for its largest
//            magnitude, and to be stored.
// Alignment  16 bytes use wide loads; other shapes go by elements.
// Cost       reads qkv once, writes query, keys and values once: memory.
// Errors     kInternal when the launch fails; slots are trusted.
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/kv_bytes.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 128;

struct Sections {
  int64_t time, height;  // frequencies of each; the rest is width
};

// The angle is the f32 product of position and frequency, as in the reference implementation.
__global__ void __launch_bounds__(kThreads) MropeTableKernel(const int32_t* positions,
                                                             const float* inv_freq,
                                                             int64_t half,
                                                             Sections sections,
                                                             float scaling,
                                                             float* cos,
                                                             float* sin) {
  LetNextBegin();
  WaitForPrevious();
  const int64_t token = blockIdx.x;
  for (int64_t i = threadIdx.x; i < half; i += kThreads) {
    const int axis = i < sections.time ? 0 : i < sections.time + sections.height ? 1 : 2;
    const float angle = __fmul_rn(static_cast<float>(positions[token * 3 + axis]), inv_freq[i]);
    cos[token * half + i] = cosf(angle) * scaling;
    sin[token * half + i] = sinf(angle) * scaling;
  }
}

// Eight elements of both halves of a head.
struct Halves {
  float low[kGroup], high[kGroup];
};

template <bool kAligned, typename T>
__device__ __forceinline__ Halves LoadHalves(const T* head, int64_t half, int64_t i) {
  Halves halves;
  LoadGroup<kAligned>(head + i, half - i, halves.low);
  LoadGroup<kAligned>(head + half + i, half - i, halves.high);
  return halves;
}

template <bool kAligned, typename T>
__device__ __forceinline__ void StoreHalves(const Halves& halves,
                                            int64_t half,
                                            int64_t i,
                                            T* head) {
  StoreGroup<kAligned>(head + i, half - i, halves.low);
  StoreGroup<kAligned>(head + half + i, half - i, halves.high);
}

template <bool kAligned>
__device__ __forceinline__ void Rotate(
    const float* cos, const float* sin, int64_t half, int64_t i, Halves& halves) {
  float c[kGroup], s[kGroup];
  LoadGroup<kAligned>(cos + i, half - i, c);
  LoadGroup<kAligned>(sin + i, half - i, s);
  for (int j = 0; j < kGroup; ++j) {
    const float low = halves.low[j], high = halves.high[j];
    halves.low[j] = __fmaf_rn(low, c[j], -__fmul_rn(high, s[j]));
    halves.high[j] = __fmaf_rn(high, c[j], __fmul_rn(low, s[j]));
  }
}

// What a token's query, keys and values are made of.
template <typename A>
struct Projections {
  const A* qkv;
  const float *bias, *cos, *sin;
  int64_t num_heads, num_kv_heads, half;

  __device__ int64_t all_heads() const { return num_heads + 2 * num_kv_heads; }
  // Which row of the cache a key or value head of all heads is in `slot`.
  __device__ int64_t CacheRow(int64_t num_slots, int64_t slot, int64_t head) const {
    const int64_t kv_head = head - num_heads;
    return kv_head < num_kv_heads ? slot * num_kv_heads + kv_head
                                  : (num_slots + slot - 1) * num_kv_heads + kv_head;
  }
};

// Calls fn(head, i, halves) for eight elements of both halves of a head at a time, biased and, but
// for values, turned: of this block's token, from `first_head` on.
template <bool kAligned, typename A, typename Fn>
__device__ __forceinline__ void ForTurned(const Projections<A>& from, int64_t first_head, Fn&& fn) {
  const int64_t token = blockIdx.x, half = from.half, groups = CeilDiv(half, kGroup);
  for (int64_t unit = threadIdx.x; unit < (from.all_heads() - first_head) * groups;
       unit += kThreads) {
    const int64_t head = first_head + unit / groups, i = unit % groups * kGroup;
    Halves halves =
        LoadHalves<kAligned>(from.qkv + (token * from.all_heads() + head) * 2 * half, half, i);
    if (from.bias != nullptr) {
      const Halves add = LoadHalves<kAligned>(from.bias + head * 2 * half, half, i);
      for (int j = 0; j < kGroup; ++j) {
        halves.low[j] = __fadd_rn(halves.low[j], add.low[j]);
        halves.high[j] = __fadd_rn(halves.high[j], add.high[j]);
      }
    }
    if (head < from.num_heads + from.num_kv_heads) {
      Rotate<kAligned>(from.cos + token * half, from.sin + token * half, half, i, halves);
    }
    fn(head, i, halves);
  }
}

template <typename A, typename Kv, bool kAligned>
__global__ void __launch_bounds__(kThreads) QkvRopeWriteKernel(
    Projections<A> from, const int64_t* slot_mapping, int64_t num_slots, A* query, Kv* kv_cache) {
  LetNextBegin();
  WaitForPrevious();
  const int64_t token = blockIdx.x, half = from.half;
  const int64_t slot = slot_mapping[token];
  ForTurned<kAligned>(from, 0, [&](int64_t head, int64_t i, const Halves& halves) {
    if (head < from.num_heads) {
      StoreHalves<kAligned>(halves, half, i, query + (token * from.num_heads + head) * 2 * half);
    } else if (slot >= 0) {
      StoreHalves<kAligned>(halves, half, i,
                            kv_cache + from.CacheRow(num_slots, slot, head) * 2 * half);
    }
  });
}

template <bool kAligned>
__device__ __forceinline__ void StoreBytes(
    const float (&x)[kGroup], float inverse, bool fp8, int64_t count, KvByte* to) {
  uint8_t bytes[kGroup];
  for (int j = 0; j < kGroup; ++j) bytes[j] = ToByte(__fmul_rn(x[j], inverse), fp8);
  if constexpr (kAligned) {
    uint32_t words[2] = {};
    for (int j = 0; j < kGroup; ++j) words[j / 4] |= uint32_t{bytes[j]} << 8 * (j % 4);
    *reinterpret_cast<uint2*>(to) = {words[0], words[1]};
  } else {
    for (int j = 0; j < kGroup && j < count; ++j) to[j] = {bytes[j]};
  }
}

// Shared memory: the largest magnitudes of 2 K rows, as bits, which order as the numbers do.
template <typename A, bool kAligned>
__global__ void __launch_bounds__(kThreads) QkvRopeWriteBytesKernel(Projections<A> from,
                                                                    const int64_t* slot_mapping,
                                                                    int64_t num_slots,
                                                                    bool fp8,
                                                                    A* query,
                                                                    KvByte* kv_cache,
                                                                    float* kv_scales) {
  LetNextBegin();
  WaitForPrevious();
  const int64_t token = blockIdx.x, half = from.half;
  const int64_t num_heads = from.num_heads, num_rows = 2 * from.num_kv_heads;
  const int64_t slot = slot_mapping[token];
  auto* largest = DynamicShared<uint32_t>();
  for (int64_t row = threadIdx.x; row < num_rows; row += kThreads) largest[row] = 0;
  __syncthreads();
  ForTurned<kAligned>(from, 0, [&](int64_t head, int64_t i, const Halves& halves) {
    if (head < num_heads) {
      StoreHalves<kAligned>(halves, half, i, query + (token * num_heads + head) * 2 * half);
      return;
    }
    float most = 0;
    for (int j = 0; j < kGroup; ++j) {
      most = fmaxf(most, fmaxf(fabsf(halves.low[j]), fabsf(halves.high[j])));
    }
    atomicMax(largest + (head - num_heads), __float_as_uint(most));
  });
  __syncthreads();
  if (slot < 0) return;
  ForTurned<kAligned>(from, num_heads, [&](int64_t head, int64_t i, const Halves& halves) {
    const DeviceRowScale scale(__uint_as_float(largest[head - num_heads]), fp8);
    const int64_t row = from.CacheRow(num_slots, slot, head);
    KvByte* to = kv_cache + row * 2 * half + i;
    StoreBytes<kAligned>(halves.low, scale.inverse, fp8, half - i, to);
    StoreBytes<kAligned>(halves.high, scale.inverse, fp8, half - i, to + half);
    if (i == 0) kv_scales[row] = scale.scale;
  });
}

template <typename A, bool kAligned>
__global__ void __launch_bounds__(kThreads)
    VisionRopeKernel(A* qkv, const float* cos, const float* sin, int64_t num_heads, int64_t half) {
  LetNextBegin();
  WaitForPrevious();
  const int64_t token = blockIdx.x, groups = CeilDiv(half, kGroup);
  // Queries and keys lie side by side: 2 * num_heads heads.
  for (int64_t unit = threadIdx.x; unit < 2 * num_heads * groups; unit += kThreads) {
    const int64_t i = unit % groups * kGroup;
    A* head = qkv + (token * 3 * num_heads + unit / groups) * 2 * half;
    Halves halves = LoadHalves<kAligned>(head, half, i);
    Rotate<kAligned>(cos + token * half, sin + token * half, half, i, halves);
    StoreHalves<kAligned>(halves, half, i, head);
  }
}

LaunchShape OneBlockForEach(int64_t num_tokens) {
  return {static_cast<unsigned>(num_tokens), kThreads, 0, /*begins_early=*/true};
}

template <typename A>
Projections<A> ProjectionsOf(const QkvRopeWriteArgs& args) {
  return {Elements<A>(args.qkv),     Elements<float>(args.bias), Elements<float>(args.cos),
          Elements<float>(args.sin), args.query.dim(1),          args.kv_cache.dim(3),
          args.kv_cache.dim(4) / 2};
}

Status WriteBytes(Context& context, const QkvRopeWriteArgs& args, bool aligned) {
  LaunchShape shape = OneBlockForEach(args.query.dim(0));
  shape.shared_bytes = static_cast<size_t>(2 * args.kv_cache.dim(3)) * sizeof(uint32_t);
  return WithDeviceType(args.query.dtype(), [&](auto a) {
    using A = decltype(a);
    return Launch("QkvRopeWrite", context.stream, shape,
                  aligned ? &QkvRopeWriteBytesKernel<A, true> : &QkvRopeWriteBytesKernel<A, false>,
                  ProjectionsOf<A>(args), Elements<int64_t>(args.slot_mapping),
                  args.kv_cache.dim(1) * args.kv_cache.dim(2),
                  args.kv_cache.dtype() == DType::kF8E4M3, Elements<A>(args.query),
                  Elements<KvByte>(args.kv_cache), Elements<float>(args.kv_scales));
  });
}

}  // namespace

Status MropeTable(Context& context, const MropeTableArgs& args) {
  if (args.cos.num_elements() == 0) return OkStatus();
  return Launch("MropeTable", context.stream, OneBlockForEach(args.positions.dim(0)),
                &MropeTableKernel, Elements<int32_t>(args.positions),
                Elements<float>(args.inv_freq), args.inv_freq.dim(0),
                Sections{args.section[0], args.section[1]}, args.attention_scaling,
                Elements<float>(args.cos), Elements<float>(args.sin));
}

Status QkvRopeWrite(Context& context, const QkvRopeWriteArgs& args) {
  const int64_t num_tokens = args.query.dim(0), half = args.kv_cache.dim(4) / 2;
  if (num_tokens == 0) return OkStatus();
  bool aligned = true;
  for (const TensorView* tensor :
       {&args.qkv, &args.bias, &args.cos, &args.sin, &args.query, &args.kv_cache}) {
    aligned = aligned && RowsAreAligned(*tensor, half);
  }
  if (HasKvScales(args.kv_cache.dtype())) return WriteBytes(context, args, aligned);
  return WithDeviceType(args.query.dtype(), [&](auto a) {
    return WithDeviceType(args.kv_cache.dtype(), [&](auto kv) {
      using A = decltype(a);
      using Kv = decltype(kv);
      return Launch("QkvRopeWrite", context.stream, OneBlockForEach(num_tokens),
                    aligned ? &QkvRopeWriteKernel<A, Kv, true> : &QkvRopeWriteKernel<A, Kv, false>,
                    ProjectionsOf<A>(args), Elements<int64_t>(args.slot_mapping),
                    args.kv_cache.dim(1) * args.kv_cache.dim(2), Elements<A>(args.query),
                    Elements<Kv>(args.kv_cache));
    });
  });
}

Status VisionRope(Context& context, const VisionRopeArgs& args) {
  const int64_t num_tokens = args.qkv.dim(0), num_heads = args.qkv.dim(2),
                half = args.qkv.dim(3) / 2;
  if (args.qkv.num_elements() == 0) return OkStatus();
  const bool aligned = RowsAreAligned(args.qkv, half) && RowsAreAligned(args.cos, half) &&
                       RowsAreAligned(args.sin, half);
  return WithDeviceType(args.qkv.dtype(), [&](auto type) {
    using A = decltype(type);
    return Launch("VisionRope", context.stream, OneBlockForEach(num_tokens),
                  aligned ? &VisionRopeKernel<A, true> : &VisionRopeKernel<A, false>,
                  Elements<A>(args.qkv), Elements<float>(args.cos), Elements<float>(args.sin),
                  num_heads, half);
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
