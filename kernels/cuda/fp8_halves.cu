// Rows of fp8 codes as f16 times 2^-8, in the order in which wgmma multiplies them.
//
//   x    [num_rows, width]                  fp8
//   out  [num_rows, blocks of 64, 2, 2, 16] f16: of each 32 codes the even ones, then the odd ones;
//                                           zeros behind the last
//
// Launch     a thread for each 32 codes of a row.
// Alignment  rows of x at 16 bytes.
// Cost       each code once in, twice its bytes out: the launch, at 128 rows.
// Errors     kInternal when the launch fails.
#include "kernels/cuda/linear_kernels.h"
#include "kernels/cuda/mma.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

constexpr int kThreads = 256;
constexpr int kCodes = 32;  // of a thread

__global__ void __launch_bounds__(kThreads)
    HalvesKernel(const unsigned char* x, int64_t num_groups, int64_t width, uint4* out) {
  LetNextBegin();
  WaitForPrevious();
  const int64_t groups_of_row = CeilDiv(width, kBlockK) * (kBlockK / kCodes);
  const int64_t group = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (group >= num_groups) return;
  const int64_t row = group / groups_of_row, first = group % groups_of_row * kCodes;
  const auto* from = reinterpret_cast<const uint4*>(x + row * width + first);
  uint4* to = out + group * 4;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    constexpr int kInLoad = static_cast<int>(sizeof(uint4));
    const uint4 codes = first + i * kInLoad < width ? from[i] : uint4{0, 0, 0, 0};
    uint4 even, odd;
    Fp8ToHalves(codes.x, even.x, odd.x);
    Fp8ToHalves(codes.y, even.y, odd.y);
    Fp8ToHalves(codes.z, even.z, odd.z);
    Fp8ToHalves(codes.w, even.w, odd.w);
    to[i] = even;
    to[2 + i] = odd;
  }
}

}  // namespace

Status Fp8RowsToHalves(
    const Stream& stream, const void* x, int64_t num_rows, int64_t width, void* out) {
  const int64_t groups = num_rows * CeilDiv(width, kBlockK) * (kBlockK / kCodes);
  return Launch("Fp8RowsToHalves", stream,
                {static_cast<unsigned>(CeilDiv(groups, kThreads)), kThreads, 0, true},
                &HalvesKernel, static_cast<const unsigned char*>(x), groups, width,
                static_cast<uint4*>(out));
}

}  // namespace longhand::kernels::LONGHAND_DEVICE
