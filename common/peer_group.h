// Peer memory: what ranks of one host share so that their kernels can exchange, and the calls on
// it.
//
// Each rank has one piece of device memory that the others read. A block of a kernel exchanges with
// the same block of the other ranks' kernels, in regions that are its own, and knows by flags there
// when they have come:
//
//   flags     [max_blocks, kMaxPeers] u32      written by the peers: how often each has come to
//   this block counters  [max_blocks, 2] u32              this rank's own: how often the block
//   came, and how many calls it took part in inputs    [2, max_blocks, region_bytes]    of this
//   call and the one before sums      [2, max_blocks, region_bytes]
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "common/tensor_view.h"

namespace longhand {

inline constexpr int kMaxPeers = 16;

// Words in host memory that kernels see, too.
struct PeerControl {
  uint32_t abort = 0;      // from the host: stop waiting
  uint32_t timed_out = 0;  // from a kernel: a peer did not come
};

struct PeerGroup {
  int rank = 0;
  int size = 1;
  std::byte* memory[kMaxPeers] = {};  // [size]: each rank's, as this one sees it
  PeerControl* control = nullptr;     // of this rank
  uint64_t timeout_ns = 0;            // a block waits so long for its peers
  int max_blocks = 64;
  int64_t region_bytes = 64 << 10;  // a multiple of 16

  constexpr int64_t flags_bytes() const { return int64_t{max_blocks} * kMaxPeers * 4; }
  constexpr int64_t counters_bytes() const { return int64_t{max_blocks} * 2 * 4; }
  int64_t memory_bytes() const {
    return flags_bytes() + counters_bytes() + 4 * max_blocks * region_bytes;
  }
  // Blocks that so many rows are shared out to, `unit` rows together; 0 where the regions are too
  // small.
  int BlocksFor(int64_t num_rows, int64_t row_bytes, int64_t unit) const {
    const int64_t num_units = (num_rows + unit - 1) / unit;
    const int64_t num_blocks = num_units < max_blocks ? num_units : max_blocks;
    if (num_blocks == 0) return 0;
    const int64_t units_a_block = (num_units + num_blocks - 1) / num_blocks;
    return units_a_block * unit * row_bytes <= region_bytes ? static_cast<int>(num_blocks) : 0;
  }
};

// data[i] = data of rank 0 + of rank 1 + ..., in f32, rounded once. With `residual`: that, then
// residual += data and out = RMSNorm of it times weight, rounded to fp8 where there is a scale
// (RmsNormArgs of kernels/ops.h); `data` is then not written.
struct PeerReduceArgs {
  const PeerGroup* group = nullptr;
  TensorView
      data;  // in and out: [rows, width] f32 or bf16; every width but the norm's is arbitrary
  TensorView residual;  // in and out: as data, or absent
  TensorView weight;    // [width] f32
  float eps = 0;
  TensorView out;         // out: as data; with `scale` also fp8
  TensorView scale = {};  // out: [rows] f32, or absent
  // Each rank adds up its share of the rows, and the others read the sums: two waits, and less to
  // read.
  bool two_shot = false;
};

// all[r] = local of rank r.
struct PeerGatherArgs {
  const PeerGroup* group = nullptr;
  TensorView local;  // any dtype
  TensorView all;    // out: [size, ...local shape]
};

// Memory of this device, or another rank's as this process sees it.
class PeerMemory {
 public:
  virtual ~PeerMemory() = default;
  virtual std::byte* data() = 0;
  // By which another process on the host opens it, while the owner has it.
  virtual std::string handle() const = 0;
  // Nobody opens it any more.
  virtual void Close() {}
};

// A device whose kernels exchange so. Calls are enqueued on its stream, in order with all else
// there. Belongs to the thread that owns the stream.
class PeerDevice {
 public:
  virtual ~PeerDevice() = default;

  // What a group on such devices begins with; size and memory are the communicator's to fill in.
  virtual PeerGroup MakePeerGroup() const = 0;
  // Whether its times say which way of exchanging is quicker.
  virtual bool IsTimed() const = 0;

  // Zeroed. kResourceExhausted.
  virtual Result<std::unique_ptr<PeerMemory>> AllocatePeerMemory(size_t bytes) = 0;
  // kUnavailable where this device cannot read that memory.
  virtual Result<std::unique_ptr<PeerMemory>> OpenPeerMemory(const std::string& handle) = 0;
  // Host memory that kernels see. kResourceExhausted.
  virtual Result<std::shared_ptr<PeerControl>> AllocatePeerControl() = 0;

  // Waits for all calls so far.
  virtual Status DrainPeerCalls() = 0;
  // Peers may read or write an own piece of memory until they form a new group: it is kept so long.
  void RetirePeerMemory(std::unique_ptr<PeerMemory> memory) {
    retired_.push_back(std::move(memory));
  }
  void FreeRetiredPeerMemory() { retired_.clear(); }

  // kInvalidArgument where the group's regions are too small.
  virtual Status PeerReduce(const PeerReduceArgs& args) = 0;
  // What PeerReduce does with a residual, once `data` is summed.
  virtual Status NormSum(const PeerReduceArgs& args) = 0;
  virtual Status PeerGather(const PeerGatherArgs& args) = 0;

 private:
  std::vector<std::unique_ptr<PeerMemory>> retired_;
};

}  // namespace longhand
