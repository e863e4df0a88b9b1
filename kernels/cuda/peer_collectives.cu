// Sums and gathers over the ranks of one host, by kernels that read each other's memory
// (common/peer_group.h), and the sum that goes on with residual and RMSNorm.
//
//   data, residual, out  [rows, width]  f32 or bf16; out also fp8, with a scale
//   weight               [width]        f32
//   scale                [rows]         f32, or absent
//
// One shot: a block copies its rows into its region, waits for the same block of every rank, and
// adds up their rows. Two shots: it adds up only this rank's share of them, waits again, and takes
// the others' sums from where they are. Sums are in f32, in the order of ranks, and rounded once:
// every rank has the same bits, and those of every other transport.
//
// Launch     up to max_blocks blocks of 256 threads, the same number on every rank; all fit on the
// device at once, since
//            they wait for each other's peers only. A row stays in one block.
// Alignment  rows of 16 bytes use wide loads; others go by elements.
// Cost       one shot reads size * bytes over the links, two shots 2 * bytes * (size - 1) / size; a
// wait is a store to
//            each peer and their stores here. Not measured.
// Errors     kInvalidArgument where the regions are too small, kInternal when a launch fails. A
// peer that does not come
//            shows in PeerControl.
// Source     one-shot and two-shot all-reduce: NVIDIA's TensorRT-LLM and vLLM have them. Written
// here.
#include "kernels/cuda/device_ops.h"
#include "kernels/cuda/peer_meeting.h"
#include "kernels/cuda/rms_norm_row.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

struct ReduceProblem {
  PeerGroup group;
  void* data;
  void* residual;  // or null
  const float* weight;
  void* out;
  float* scale;  // or null
  bool to_codes;
  int64_t num_rows, width;
  float eps;
};

// A block's rows: units of `unit` rows, every gridDim.x-th of them.
template <typename Visit>
__device__ __forceinline__ void ForRows(int64_t num_rows, int unit, Visit&& visit) {
  int64_t slot = 0;
  for (int64_t first = int64_t{blockIdx.x} * unit; first < num_rows;
       first += int64_t{gridDim.x} * unit) {
    for (int i = 0; i < unit && first + i < num_rows; ++i) visit(first + i, i, slot++);
  }
}

// Eight sums over the ranks from element i of a slot on, rounded to A.
template <typename A, bool kAligned>
__device__ __forceinline__ void SumPeers(const PeerBlock& block,
                                         int64_t at,
                                         int64_t left,
                                         float (&sum)[kGroup]) {
  LoadGroup<kAligned>(reinterpret_cast<const A*>(block.Input(0)) + at, left, sum);
  for (int r = 1; r < block.group.size; ++r) {
    float next[kGroup];
    LoadGroup<kAligned>(reinterpret_cast<const A*>(block.Input(r)) + at, left, next);
    for (int j = 0; j < kGroup; ++j) sum[j] = __fadd_rn(sum[j], next[j]);
  }
  for (int j = 0; j < kGroup; ++j) sum[j] = ToFloat(FromFloat<A>(sum[j]));
}

template <typename Visit>
__device__ __forceinline__ void ForGroups(int64_t width, Visit&& visit) {
  const int64_t step = int64_t{kNormThreads} * kGroup;
  for (int64_t i = int64_t{threadIdx.x} * kGroup; i < width; i += step) visit(i, width - i);
}

template <typename A, bool kAligned, bool kTwoShot>
__global__ void __launch_bounds__(kNormThreads, 2) PeerReduceKernel(ReduceProblem problem) {
  __shared__ float scratch[kWarpSize];
  PeerBlock block(problem.group, static_cast<int>(blockIdx.x));
  const int unit = kTwoShot ? problem.group.size : 1;
  const int64_t width = problem.width;
  A* data = static_cast<A*>(problem.data);
  float values[kGroup];

  A* input = reinterpret_cast<A*>(block.Input(problem.group.rank));
  ForRows(problem.num_rows, unit, [&](int64_t row, int, int64_t slot) {
    ForGroups(width, [&](int64_t i, int64_t left) {
      LoadGroup<kAligned>(data + row * width + i, left, values);
      StoreGroup<kAligned>(input + slot * width + i, left, values);
    });
  });
  if (!block.Meet()) return;
  if constexpr (kTwoShot) {
    A* sums = reinterpret_cast<A*>(block.Sums(problem.group.rank));
    ForRows(problem.num_rows, unit, [&](int64_t, int owner, int64_t slot) {
      if (owner != problem.group.rank) return;
      ForGroups(width, [&](int64_t i, int64_t left) {
        SumPeers<A, kAligned>(block, slot * width + i, left, values);
        StoreGroup<kAligned>(sums + slot * width + i, left, values);
      });
    });
    if (!block.Meet()) return;
  }
  ForRows(problem.num_rows, unit, [&](int64_t row, int owner, int64_t slot) {
    const auto load = [&](int64_t i, int64_t left, float (&x)[kGroup]) {
      if constexpr (kTwoShot) {
        LoadGroup<kAligned>(reinterpret_cast<const A*>(block.Sums(owner)) + slot * width + i, left,
                            x);
      } else {
        SumPeers<A, kAligned>(block, slot * width + i, left, x);
      }
    };
    const auto norm = [&](auto* out) {
      NormRow<A, kAligned>(load, static_cast<A*>(problem.residual) + row * width, problem.weight,
                           width, problem.eps, out + row * width,
                           problem.scale != nullptr ? problem.scale + row : nullptr, scratch);
    };
    if (problem.residual != nullptr) {
      problem.to_codes ? norm(static_cast<DeviceFp8*>(problem.out))
                       : norm(static_cast<A*>(problem.out));
    } else {
      ForGroups(width, [&](int64_t i, int64_t left) {
        load(i, left, values);
        StoreGroup<kAligned>(data + row * width + i, left, values);
      });
    }
  });
  block.End();
}

struct GatherProblem {
  PeerGroup group;
  const std::byte* local;
  std::byte* all;
  int64_t num_bytes;
};

constexpr int64_t kGatherRow = 4096;  // bytes

template <typename Unit>
__device__ __forceinline__ void CopyUnits(std::byte* to, const std::byte* from, int64_t bytes) {
  for (int64_t i = threadIdx.x; i < bytes / static_cast<int64_t>(sizeof(Unit)); i += blockDim.x) {
    reinterpret_cast<Unit*>(to)[i] = reinterpret_cast<const Unit*>(from)[i];
  }
}

template <typename Unit>
__global__ void __launch_bounds__(kNormThreads) PeerGatherKernel(GatherProblem problem) {
  PeerBlock block(problem.group, static_cast<int>(blockIdx.x));
  const int64_t num_rows = CeilDiv(problem.num_bytes, kGatherRow);
  const auto bytes_of = [&](int64_t row) {
    return min(kGatherRow, problem.num_bytes - row * kGatherRow);
  };
  ForRows(num_rows, 1, [&](int64_t row, int, int64_t slot) {
    CopyUnits<Unit>(block.Input(problem.group.rank) + slot * kGatherRow,
                    problem.local + row * kGatherRow, bytes_of(row));
  });
  if (!block.Meet()) return;
  ForRows(num_rows, 1, [&](int64_t row, int, int64_t slot) {
    for (int r = 0; r < problem.group.size; ++r) {
      CopyUnits<Unit>(problem.all + r * problem.num_bytes + row * kGatherRow,
                      block.Input(r) + slot * kGatherRow, bytes_of(row));
    }
  });
  block.End();
}

Status TooLarge(const PeerGroup& group, int64_t bytes) {
  return InvalidArgument(bytes, " bytes do not fit ", group.max_blocks, " regions of ",
                         group.region_bytes, " bytes");
}

// Sums without a norm have rows of this many elements, and one that is shorter.
constexpr int64_t kSumRow = int64_t{kNormThreads} * kGroup;

bool IsAligned(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

template <typename A>
auto ReduceKernelFor(bool aligned, bool two_shot) {
  if (two_shot) {
    return aligned ? &PeerReduceKernel<A, true, true> : &PeerReduceKernel<A, false, true>;
  }
  return aligned ? &PeerReduceKernel<A, true, false> : &PeerReduceKernel<A, false, false>;
}

Status LaunchReduce(Context& context, const ReduceProblem& problem, DType dtype, bool two_shot) {
  const auto width = static_cast<int64_t>(DTypeSize(dtype));
  const int num_blocks = problem.group.BlocksFor(problem.num_rows, problem.width * width,
                                                 two_shot ? problem.group.size : 1);
  if (num_blocks == 0) return TooLarge(problem.group, problem.num_rows * problem.width * width);
  const bool aligned = problem.width % kGroup == 0 && IsAligned(problem.data, 16) &&
                       IsAligned(problem.residual, 16) && IsAligned(problem.weight, 16) &&
                       IsAligned(problem.out, 16);
  const LaunchShape shape{static_cast<unsigned>(num_blocks), kNormThreads};
  return WithDeviceType(dtype, [&](auto type) {
    using A = decltype(type);
    return Launch("PeerReduce", context.stream, shape, ReduceKernelFor<A>(aligned, two_shot),
                  problem);
  });
}

}  // namespace

Status PeerReduce(Context& context, const PeerReduceArgs& args) {
  const DType dtype = args.data.dtype();
  const int64_t count = args.data.num_elements();
  if (count == 0) return OkStatus();
  ReduceProblem problem{.group = *args.group,
                        .data = args.data.data(),
                        .residual = args.residual.data(),
                        .weight = Elements<float>(args.weight),
                        .out = args.out.data(),
                        .scale = Elements<float>(args.scale),
                        .to_codes = args.out.dtype() == DType::kF8E4M3,
                        .num_rows = args.data.dim(0),
                        .width = count / args.data.dim(0),
                        .eps = args.eps};
  if (problem.residual != nullptr) return LaunchReduce(context, problem, dtype, args.two_shot);
  // Any shape is as good: the sum is by element.
  const int64_t whole = count / kSumRow * kSumRow;
  if (whole == 0 || whole == count) {
    problem.width = whole == 0 ? count : kSumRow;
    problem.num_rows = count / problem.width;
    return LaunchReduce(context, problem, dtype, args.two_shot);
  }
  problem.num_rows = whole / kSumRow;
  problem.width = kSumRow;
  LONGHAND_RETURN_IF_ERROR(LaunchReduce(context, problem, dtype, args.two_shot));
  problem.data =
      static_cast<std::byte*>(args.data.data()) + whole * static_cast<int64_t>(DTypeSize(dtype));
  problem.num_rows = 1;
  problem.width = count - whole;
  return LaunchReduce(context, problem, dtype, args.two_shot);
}

Status PeerGather(Context& context, const PeerGatherArgs& args) {
  const auto num_bytes = static_cast<int64_t>(args.local.num_bytes());
  if (num_bytes == 0) return OkStatus();
  const GatherProblem problem{*args.group, static_cast<const std::byte*>(args.local.data()),
                              static_cast<std::byte*>(args.all.data()), num_bytes};
  const int num_blocks = args.group->BlocksFor(CeilDiv(num_bytes, kGatherRow), kGatherRow, 1);
  if (num_blocks == 0) return TooLarge(*args.group, num_bytes);
  const LaunchShape shape{static_cast<unsigned>(num_blocks), kNormThreads};
  const auto fits = [&](size_t unit) {
    return num_bytes % static_cast<int64_t>(unit) == 0 && IsAligned(problem.local, unit) &&
           IsAligned(problem.all, unit);
  };
  const auto kernel = fits(16)  ? &PeerGatherKernel<uint4>
                      : fits(4) ? &PeerGatherKernel<uint32_t>
                                : &PeerGatherKernel<uint8_t>;
  return Launch("PeerGather", context.stream, shape, kernel, problem);
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
