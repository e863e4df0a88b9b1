// Adapters: the matrices of LoRA adapters at hand, in slots whose memory is taken at start, and
// their deltas. Executor thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/adapter/adapter_files.h"
#include "common/config/model_config.h"
#include "common/config/shard_plan.h"
#include "common/status.h"
#include "kernels/ops.h"
#include "worker/model/adapter_groups.h"
#include "worker/model/device_tensor.h"
#include "worker/model/workspace.h"

namespace longhand::model {

struct AdapterSizes {
  int64_t num_slots = 0;
  int64_t max_rank = 0;     // of an adapter; memory is for this one, rounded up to a multiple of 8
  int64_t max_tokens = 0;   // of a step
  int64_t max_patches = 0;  // of an image
  DType weight = DType::kBf16;
  DType activation = DType::kBf16;
};

class Adapters {
 public:
  // All memory is taken here; `ops` must outlive the adapters.
  static Result<std::unique_ptr<Adapters>> Create(const ModelConfig& config,
                                                  const RankShard& shard,
                                                  const AdapterSizes& sizes,
                                                  kernels::Ops& ops);
  static int64_t Bytes(const ModelConfig& config,
                       const RankShard& shard,
                       const AdapterSizes& sizes);

  // Reads the adapter of `directory` into a slot that nothing in flight uses. `identity` says what
  // it is: a slot that has it keeps what it has. After an error the slot is empty. kInvalidArgument
  // and kNotFound as AdapterFiles::Open, or for a slot that is not there.
  Status Load(int64_t slot, const std::string& identity, const std::filesystem::path& directory);
  bool Has(int64_t slot) const {
    return slot >= 0 && slot < sizes_.num_slots && !identities_[static_cast<size_t>(slot)].empty();
  }

  // y += the delta of the group's layers, for each row of x that has an adapter: `rows` [T] i32 are
  // slots, or -1. `x_scale` as LoraArgs has it.
  Status AddDelta(
      int64_t group, TensorView x, TensorView x_scale, TensorView rows, TensorView y) const;
  // out = SwiGlu(x * weight^T + bias, with the delta of the group). The same bits as Linear() for a
  // row that has none.
  Status GateUp(int64_t group, const kernels::LinearArgs& linear, TensorView rows) const;
  // Rows of one image: all of the same slot.
  Result<TensorView> ImageRows(int64_t num_patches, int64_t slot);

 private:
  struct Group {
    AdapterGroup what;
    DeviceTensor a;      // [slots, parts, R, in_features]
    DeviceTensor b;      // [slots, R, columns]
    DeviceTensor ranks;  // [slots, parts] i32
  };
  struct Workspace {
    DeviceTensor scales;      // [slots] f32
    DeviceTensor mid;         // [T or P, parts * R] f32
    DeviceTensor gate_up;     // [kGateUpRows, columns of gates and ups] A
    DeviceTensor image_rows;  // [P] i32
  };

  Adapters(const ModelConfig& config, const AdapterSizes& sizes, kernels::Ops& ops)
      : config_(config),
        sizes_(sizes),
        ops_(ops),
        identities_(static_cast<size_t>(sizes.num_slots)) {}
  static std::vector<WorkspacePart<Group>> Parts(const AdapterGroup& group,
                                                 const AdapterSizes& sizes);
  static std::vector<WorkspacePart<Workspace>> Parts(const std::vector<AdapterGroup>& groups,
                                                     const AdapterSizes& sizes);
  Status LoadGroup(int64_t slot, const AdapterFiles& files, const Group& group);

  const ModelConfig config_;
  const AdapterSizes sizes_;
  kernels::Ops& ops_;
  std::vector<Group> groups_;
  Workspace space_;
  std::vector<std::string> identities_;  // of each slot; empty: none is there
  // Host memory of copies on their way.
  std::vector<char> staging_;
  std::vector<int32_t> staged_ranks_;
  std::vector<int32_t> staged_rows_;
};

}  // namespace longhand::model
