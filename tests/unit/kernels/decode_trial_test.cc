// The trial by which a device gets decode attention's kernels, on the emulation.
#include <gtest/gtest.h>

#include "kernels/cuda/cuda_ops.h"

namespace longhand::kernels {
namespace {

// Nothing is timed there, so behind the list stands only what has failed.
TEST(DecodeTrial, FindsTheSameBitsInBothKernels) {
  KernelNames launched;
  auto ops =
      CreateEmulatedOps({.schedule_seed = 3, .num_multiprocessors = 2, .launched = &launched});
  ASSERT_TRUE(ops.ok()) << ops.status();
  const Status reserved = (*ops)->Reserve({});
  ASSERT_TRUE(reserved.ok()) << reserved;
  EXPECT_EQ((*ops)->TrialResults(),
            "wgmma has mma.sync's bits in: decode attention, prefill attention, ViT attention");
  EXPECT_EQ(launched, (KernelNames{"PagedDecode", "PagedDecodeGroups", "PagedPrefill",
                                   "PrefillGroups", "VisionAttention", "VisionGroups"}));
}

}  // namespace
}  // namespace longhand::kernels
