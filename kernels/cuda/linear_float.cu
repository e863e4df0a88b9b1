// out = x * weight^T + bias where x or the weight is f32: plain multiply-adds.
//
//   x       [T, in_features]             f32 or bf16
//   weight  packed (packed_weight.h)     f32 or bf16
//   bias    [out_features]               f32, or absent
//   out     [T, out_features]            as x, or f32; summed in f32. Of gates and ups
//                                        [T, out_features / 2]: their SwiGlu; or as they are
//
// Every output is one chain over k from 0 up, so a row has the same bits in any company. For
// --dtype float32, which is there to be compared; the fast path is bf16.
//
// Launch     grid (feature tiles, token tiles) of 32 x 32, 256 threads: four tokens of one feature.
// Cost       2 T * in_features * out_features operations on the f32 units.
// Errors     kInternal when the launch fails.
#include <type_traits>

#include "kernels/cuda/linear_tile.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 32;
constexpr int kTokensPerThread = kTile * kTile / kThreads;
constexpr int kPitch = kTile + 1;

template <typename X, typename W>
struct Problem {
  const X* x;
  const W* weight;
  const float* bias;
  int64_t num_tokens, in_features, out_features, num_gates;
  bool joins_gates;
};

template <typename X, typename W, typename Out>
__global__ void __launch_bounds__(kThreads) FloatKernel(Problem<X, W> problem, Out* out) {
  __shared__ float xs[kTile][kPitch];
  __shared__ float weights[kTile][kPitch];
  const int64_t first_feature = static_cast<int64_t>(blockIdx.x) * kTile;
  const int64_t first_token = static_cast<int64_t>(blockIdx.y) * kTile;
  const int feature = threadIdx.x % kTile, token = threadIdx.x / kTile * kTokensPerThread;
  // bf16 weights are packed in the features' order, f32 ones are not.
  const int64_t gates_apart = std::is_same_v<W, float> ? problem.num_gates : 0;
  float sum[kTokensPerThread] = {};
  for (int64_t first_k = 0; first_k < problem.in_features; first_k += kTile) {
    for (int i = threadIdx.x; i < kTile * kTile; i += kThreads) {
      const int row = i / kTile, column = i % kTile;
      const int64_t k = first_k + column;
      const bool k_exists = k < problem.in_features;
      xs[row][column] = k_exists && first_token + row < problem.num_tokens
                            ? ToFloat(problem.x[(first_token + row) * problem.in_features + k])
                            : 0.0f;
      weights[row][column] =
          k_exists && first_feature + row < problem.out_features
              ? WeightAt(problem.weight, SourceRow(first_feature + row, gates_apart), k,
                         problem.in_features)
              : 0.0f;
    }
    __syncthreads();
    for (int k = 0; k < kTile; ++k) {
      for (int i = 0; i < kTokensPerThread; ++i) {
        sum[i] = fmaf(xs[token + i][k], weights[feature][k], sum[i]);
      }
    }
    __syncthreads();
  }
  const int64_t n = first_feature + feature;
  const bool exists = n < problem.out_features;
  const float bias =
      exists && problem.bias != nullptr ? problem.bias[SourceRow(n, problem.num_gates)] : 0.0f;
  for (int i = 0; i < kTokensPerThread; ++i) {
    const int64_t row = first_token + token + i;
    if (row >= problem.num_tokens) return;  // for the whole warp
    const float value = sum[i] + bias;
    if (problem.joins_gates) {
      const float up = __shfl_xor_sync(kAllLanes, value, 1);
      if (exists && n % 2 == 0) out[row * problem.num_gates + n / 2] = GateUp<Out>(value, up);
    } else if (exists) {
      out[row * problem.out_features + SourceRow(n, problem.num_gates)] = FromFloat<Out>(value);
    }
  }
}

}  // namespace

Status LinearFloat(Context& context, const LinearArgs& args, const PackedWeight& weight) {
  const dim3 grid(static_cast<unsigned>(CeilDiv(weight.out_features(), kTile)),
                  static_cast<unsigned>(CeilDiv(args.x.dim(0), kTile)));
  const DType weight_dtype = weight.format() == WeightFormat::kF32 ? DType::kF32 : DType::kBf16;
  return WithDeviceType(args.x.dtype(), [&](auto x) {
    return WithDeviceType(weight_dtype, [&](auto w) {
      return WithDeviceType(args.out.dtype(), [&](auto o) {
        using X = decltype(x);
        using W = decltype(w);
        using Out = decltype(o);
        return Launch(
            "LinearFloat", context.stream, {grid, kThreads}, &FloatKernel<X, W, Out>,
            Problem<X, W>{Elements<X>(args.x), weight.data<W>(), Elements<float>(args.bias),
                          args.x.dim(0), weight.in_features(), weight.out_features(),
                          weight.num_gates(), args.out.dim(1) != weight.out_features()},
            Elements<Out>(args.out));
      });
    });
  });
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
