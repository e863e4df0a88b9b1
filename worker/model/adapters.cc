#include "worker/model/adapters.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "worker/model/slice_view.h"

namespace longhand::model {
namespace {

// Gates and ups of so many rows are held at once.
constexpr int64_t kGateUpRows = 512;

int64_t RoundedRank(const AdapterSizes& sizes) { return (sizes.max_rank + 7) / 8 * 8; }

// Element (row, column) of a matrix in a file.
const char* Element(const AdapterMatrix& matrix, int64_t row, int64_t column) {
  return matrix.data +
         (row * matrix.columns + column) * static_cast<int64_t>(DTypeSize(matrix.dtype));
}

}  // namespace

std::vector<WorkspacePart<Adapters::Group>> Adapters::Parts(const AdapterGroup& group,
                                                            const AdapterSizes& sizes) {
  const auto parts = static_cast<int64_t>(group.parts.size());
  const int64_t slots = sizes.num_slots, rank = RoundedRank(sizes);
  return {{&Group::a, sizes.weight, slots * parts * rank, group.in_features},
          {&Group::b, sizes.weight, slots * rank, group.num_columns()},
          {&Group::ranks, DType::kI32, slots, parts}};
}

std::vector<WorkspacePart<Adapters::Workspace>> Adapters::Parts(
    const std::vector<AdapterGroup>& groups, const AdapterSizes& sizes) {
  int64_t widest = 0;
  for (const AdapterGroup& group : groups) {
    if (group.parts.size() == 2) widest = std::max(widest, group.num_columns());
  }
  const int64_t most = std::max(sizes.max_tokens, sizes.max_patches);
  return {{&Workspace::scales, DType::kF32, sizes.num_slots, 1},
          {&Workspace::mid, DType::kF32, most, kernels::kMaxLoraParts * RoundedRank(sizes)},
          {&Workspace::gate_up, sizes.activation, std::min(most, kGateUpRows), widest},
          {&Workspace::image_rows, DType::kI32, sizes.max_patches, 1}};
}

int64_t Adapters::Bytes(const ModelConfig& config,
                        const RankShard& shard,
                        const AdapterSizes& sizes) {
  if (sizes.num_slots == 0) return 0;
  const std::vector<AdapterGroup> groups = AdapterGroups(config, shard);
  int64_t bytes = SumParts(Parts(groups, sizes));
  for (const AdapterGroup& group : groups) bytes += SumParts(Parts(group, sizes));
  return bytes;
}

Result<std::unique_ptr<Adapters>> Adapters::Create(const ModelConfig& config,
                                                   const RankShard& shard,
                                                   const AdapterSizes& sizes,
                                                   kernels::Ops& ops) {
  std::unique_ptr<Adapters> adapters(new Adapters(config, sizes, ops));
  const std::vector<AdapterGroup> groups = AdapterGroups(config, shard);
  LONGHAND_RETURN_IF_ERROR(
      AllocateParts(ops, Parts(groups, sizes), &adapters->space_).WithContext("adapters"));
  for (const AdapterGroup& what : groups) {
    Group group{.what = what, .a = {}, .b = {}, .ranks = {}};
    LONGHAND_RETURN_IF_ERROR(
        AllocateParts(ops, Parts(what, sizes), &group).WithContext("adapters"));
    adapters->groups_.push_back(std::move(group));
  }
  return adapters;
}

Status Adapters::Load(int64_t slot,
                      const std::string& identity,
                      const std::filesystem::path& directory) {
  if (slot < 0 || slot >= sizes_.num_slots) {
    return InvalidArgument("the adapter's slot is ", slot, "; there are ", sizes_.num_slots,
                           " (--max-loras)");
  }
  std::string& held = identities_[static_cast<size_t>(slot)];
  if (held == identity) return OkStatus();
  held.clear();
  LONGHAND_ASSIGN_OR_RETURN(const AdapterFiles files,
                            AdapterFiles::Open(directory, config_, sizes_.max_rank));
  for (const Group& group : groups_) LONGHAND_RETURN_IF_ERROR(LoadGroup(slot, files, group));
  const float scale = files.scale();
  LONGHAND_RETURN_IF_ERROR(
      ops_.CopyToDevice(space_.scales.view.as<float>() + slot, &scale, sizeof(scale)));
  LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
  held = identity;
  return OkStatus();
}

// A lies in rows as in the file, B transposed. What the adapter has not is zeros, and has rank 0.
Status Adapters::LoadGroup(int64_t slot, const AdapterFiles& files, const Group& group) {
  const AdapterGroup& what = group.what;
  const auto parts = static_cast<int64_t>(what.parts.size());
  const int64_t max_rank = RoundedRank(sizes_), columns = what.num_columns();
  const auto size = static_cast<int64_t>(DTypeSize(sizes_.weight));
  const int64_t a_bytes = parts * max_rank * what.in_features * size;
  const int64_t b_bytes = max_rank * columns * size;
  staging_.assign(static_cast<size_t>(a_bytes + b_bytes), 0);
  staged_ranks_.assign(static_cast<size_t>(parts), 0);
  int64_t column = 0;
  for (int64_t p = 0; p < parts; ++p) {
    const AdapterPart& part = what.parts[static_cast<size_t>(p)];
    const AdapterPair* pair = files.Find(part.module);
    if (pair != nullptr) {
      staged_ranks_[static_cast<size_t>(p)] = static_cast<int32_t>(files.rank());
      for (int64_t r = 0; r < files.rank(); ++r) {
        Convert(Element(pair->a, r, what.inputs.begin), pair->a.dtype,
                staging_.data() + (p * max_rank + r) * what.in_features * size, sizes_.weight,
                what.inputs.size());
        char* b = staging_.data() + a_bytes + (r * columns + column) * size;
        for (int64_t row = part.rows.begin; row < part.rows.end; ++row, b += size) {
          Convert(Element(pair->b, row, r), pair->b.dtype, b, sizes_.weight, 1);
        }
      }
    }
    column += part.columns;
  }
  const auto copy = [&](const DeviceTensor& to, const void* from, int64_t bytes) {
    return ops_.CopyToDevice(static_cast<char*>(to.view.data()) + slot * bytes, from,
                             static_cast<size_t>(bytes));
  };
  LONGHAND_RETURN_IF_ERROR(copy(group.a, staging_.data(), a_bytes));
  LONGHAND_RETURN_IF_ERROR(copy(group.b, staging_.data() + a_bytes, b_bytes));
  LONGHAND_RETURN_IF_ERROR(
      copy(group.ranks, staged_ranks_.data(), parts * static_cast<int64_t>(sizeof(int32_t))));
  return ops_.Synchronize();
}

Status Adapters::AddDelta(
    int64_t group_idx, TensorView x, TensorView x_scale, TensorView rows, TensorView y) const {
  const Group& group = groups_[static_cast<size_t>(group_idx)];
  const auto parts = static_cast<int64_t>(group.what.parts.size());
  const int64_t slots = sizes_.num_slots, rank = RoundedRank(sizes_);
  kernels::LoraArgs args{.x = x,
                         .adapters = rows,
                         .a = Reshape(group.a.view, {slots, parts, rank, group.what.in_features}),
                         .b = Reshape(group.b.view, {slots, rank, group.what.num_columns()}),
                         .ranks = group.ranks.view,
                         .scales = Reshape(space_.scales.view, {slots}),
                         .mid = Reshape(space_.mid.view, {x.dim(0), parts * rank}),
                         .y = y,
                         .x_scale = x_scale};
  int64_t end = 0;
  for (int64_t p = 0; p < parts; ++p) {
    end += group.what.parts[static_cast<size_t>(p)].columns;
    args.part_ends[p] = end;
  }
  return ops_.Lora(args);
}

Status Adapters::GateUp(int64_t group, const kernels::LinearArgs& linear, TensorView rows) const {
  const int64_t columns = linear.weight->out_features();
  for (int64_t begin = 0; begin < linear.x.dim(0); begin += kGateUpRows) {
    const int64_t count = std::min(kGateUpRows, linear.x.dim(0) - begin);
    kernels::LinearArgs sums = linear;
    sums.x = linear.x.Slice(begin, count);
    if (!linear.x_scale.empty()) sums.x_scale = linear.x_scale.Slice(begin, count);
    sums.out = Reshape(space_.gate_up.view, {count, columns});
    LONGHAND_RETURN_IF_ERROR(ops_.Linear(sums));
    LONGHAND_RETURN_IF_ERROR(
        AddDelta(group, sums.x, sums.x_scale, rows.Slice(begin, count), sums.out));
    LONGHAND_RETURN_IF_ERROR(
        ops_.SwiGlu({.gate_up = sums.out, .out = linear.out.Slice(begin, count)}));
  }
  return OkStatus();
}

Result<TensorView> Adapters::ImageRows(int64_t num_patches, int64_t slot) {
  // Those of the image before may still be on their way.
  LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
  staged_rows_.assign(static_cast<size_t>(num_patches), static_cast<int32_t>(slot));
  const TensorView rows = Reshape(space_.image_rows.view, {num_patches});
  LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(rows.data(), staged_rows_.data(), rows.num_bytes()));
  return rows;
}

}  // namespace longhand::model
