#include "worker/model/vision_encoder.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace longhand::model {
namespace {

// The MLP runs in slices of so many patches: its rows are independent, and the widest activations
// of a large image would otherwise take more memory than everything else together.
constexpr int64_t kMlpRows = 2048;
constexpr float kNormEps = 1e-6f;

int64_t WideElements(const VisionConfig& vision) {
  const int64_t unit = vision.patches_per_token();
  return std::max(
      {3 * vision.hidden_size, vision.patch_dim(), (vision.out_hidden_size + unit - 1) / unit});
}

}  // namespace

Result<std::unique_ptr<VisionEncoder>> VisionEncoder::Create(const ModelConfig& config,
                                                             const VisionWeights& weights,
                                                             DType activation,
                                                             int64_t max_patches,
                                                             kernels::Ops& ops) {
  std::unique_ptr<VisionEncoder> encoder(
      new VisionEncoder(config, weights, activation, max_patches, ops));
  const Status status =
      AllocateParts(ops, Parts(config.vision, activation, max_patches), &encoder->space_);
  LONGHAND_RETURN_IF_ERROR(status.WithContext("image encoder workspace"));
  return encoder;
}

int64_t VisionEncoder::WorkspaceBytes(const VisionConfig& vision,
                                      DType activation,
                                      int64_t max_patches) {
  return SumParts(Parts(vision, activation, max_patches));
}

std::vector<WorkspacePart<VisionEncoder::Workspace>> VisionEncoder::Parts(
    const VisionConfig& vision, DType activation, int64_t max_patches) {
  const int64_t p = max_patches;
  const int64_t h = vision.hidden_size;
  const int64_t units = p / vision.patches_per_token();
  const int64_t half = vision.head_dim() / 2;
  const int64_t mlp_rows = std::min(p, kMlpRows);
  const int64_t ffn = vision.padded_intermediate_size();
  return {
      {&Workspace::pixels, DType::kU8, p, 3 * vision.patch_size * vision.patch_size},
      {&Workspace::wide, activation, p, WideElements(vision)},
      {&Workspace::residual, activation, p, h},
      {&Workspace::normed, activation, p, h},
      {&Workspace::delta, activation, p, h},
      {&Workspace::mid, activation, mlp_rows, ffn},
      {&Workspace::patch_rows, DType::kI32, p, 1},
      {&Workspace::unit_rows, DType::kI32, units, 1},
      {&Workspace::cos, DType::kF32, p, half},
      {&Workspace::sin, DType::kF32, p, half},
      {&Workspace::windows, DType::kI32, units + 1, 1},
      {&Workspace::frames, DType::kI32, 2, 1},
  };
}

int64_t VisionEncoder::NumTokens(int64_t height, int64_t width) const {
  const int64_t unit = vision_.patch_size * vision_.spatial_merge_size;
  return (height / unit) * (width / unit);
}

Status VisionEncoder::CheckSize(int64_t height, int64_t width) const {
  const int64_t unit = vision_.patch_size * vision_.spatial_merge_size;
  if (height < unit || width < unit || height % unit != 0 || width % unit != 0) {
    return InvalidArgument("an image of ", height, " x ", width,
                           " pixels; both must be multiples of ", unit);
  }
  const int64_t patches = height / vision_.patch_size * (width / vision_.patch_size);
  if (patches > max_patches_) {
    return InvalidArgument("an image of ", height, " x ", width, " pixels has ", patches,
                           " patches; at most ", max_patches_, " are allowed");
  }
  return OkStatus();
}

TensorView VisionEncoder::Rows(const DeviceTensor& tensor, int64_t width) const {
  return Reshape(tensor.view, {num_patches_, width});
}

Status VisionEncoder::Begin(const uint8_t* pixels, int64_t height, int64_t width, int64_t adapter) {
  LONGHAND_RETURN_IF_ERROR(CheckSize(height, width));
  const ImageGrid grid{1, height / vision_.patch_size, width / vision_.patch_size};
  num_patches_ = grid.num_patches();
  next_block_ = 0;
  LONGHAND_RETURN_IF_ERROR(PrepareGeometry(grid));
  adapter_rows_ = {};
  if (adapter >= 0) {
    LONGHAND_ASSIGN_OR_RETURN(adapter_rows_, adapters_->ImageRows(num_patches_, adapter));
  }
  return EmbedPatches(pixels, height, width);
}

Status VisionEncoder::PrepareGeometry(const ImageGrid& grid) {
  // The tables of the image before may still be on their way.
  LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
  const std::span<const ImageGrid> grids(&grid, 1);
  windows_ = ComputeWindowOrder(grids, vision_);
  num_windows_ = static_cast<int64_t>(windows_.cu_seqlens.size()) - 1;
  frames_ = FrameBoundaries(grids);
  const std::vector<int32_t> merged_order = PatchPositions(grids, vision_.spatial_merge_size);
  const auto unit = static_cast<int32_t>(vision_.patches_per_token());
  std::vector<int32_t> positions;
  positions.reserve(merged_order.size());
  patch_rows_.clear();
  for (const int32_t unit_idx : windows_.unit_index) {
    for (int32_t patch = unit_idx * unit; patch < (unit_idx + 1) * unit; ++patch) {
      patch_rows_.push_back(patch);
      positions.push_back(merged_order[2 * patch]);
      positions.push_back(merged_order[2 * patch + 1]);
    }
  }
  rope_ = ComputeVisionRope(positions, vision_.head_dim());

  const auto copy = [this](const DeviceTensor& to, const auto& from) {
    return ops_.CopyToDevice(to.view.data(), from.data(), from.size() * sizeof(from[0]));
  };
  LONGHAND_RETURN_IF_ERROR(copy(space_.patch_rows, patch_rows_));
  LONGHAND_RETURN_IF_ERROR(copy(space_.unit_rows, windows_.unit_index));
  LONGHAND_RETURN_IF_ERROR(copy(space_.windows, windows_.cu_seqlens));
  LONGHAND_RETURN_IF_ERROR(copy(space_.frames, frames_));
  LONGHAND_RETURN_IF_ERROR(copy(space_.cos, rope_.cos));
  return copy(space_.sin, rope_.sin);
}

Status VisionEncoder::EmbedPatches(const uint8_t* pixels, int64_t height, int64_t width) {
  const TensorView image = Reshape(space_.pixels.view, {height, width, 3});
  LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(image.data(), pixels, image.num_bytes()));
  const TensorView patches = Rows(space_.wide, vision_.patch_dim());
  kernels::PatchifyArgs args{.pixels = image,
                             .patch_size = vision_.patch_size,
                             .merge_size = vision_.spatial_merge_size,
                             .temporal_patch_size = vision_.temporal_patch_size,
                             .out = patches};
  std::copy_n(config_.image_policy.mean, 3, args.mean);
  std::copy_n(config_.image_policy.std, 3, args.std);
  LONGHAND_RETURN_IF_ERROR(ops_.Patchify(args));
  const TensorView embedded = Rows(space_.delta, vision_.hidden_size);
  LONGHAND_RETURN_IF_ERROR(
      ops_.Linear({.x = patches, .weight = weights_.patch_embed.get(), .out = embedded}));
  LONGHAND_RETURN_IF_ERROR(Observe(observer_, ops_, "vit/patch_embed", embedded));
  return ops_.GatherRows({.x = embedded,
                          .rows = Reshape(space_.patch_rows.view, {num_patches_}),
                          .out = Rows(space_.residual, vision_.hidden_size)});
}

Status VisionEncoder::RunBlocks(int64_t begin, int64_t end) {
  LONGHAND_CHECK(num_patches_ > 0 && begin == next_block_ && begin <= end && end <= vision_.depth)
      << "blocks [" << begin << ", " << end << ") after " << next_block_;
  for (; next_block_ < end; ++next_block_) {
    LONGHAND_RETURN_IF_ERROR(RunBlock(next_block_));
  }
  return OkStatus();
}

Status VisionEncoder::RunBlock(int64_t block_idx) {
  const VisionBlockWeights& block = weights_.blocks[block_idx];
  const TensorView residual = Rows(space_.residual, vision_.hidden_size);
  const TensorView delta = Rows(space_.delta, vision_.hidden_size);
  const TensorView normed = Rows(space_.normed, vision_.hidden_size);
  // Before the first block nothing is pending: the residual itself is normed.
  const bool first = block_idx == 0;
  LONGHAND_RETURN_IF_ERROR(ops_.RmsNorm({.x = first ? residual : delta,
                                         .residual = first ? TensorView() : residual,
                                         .weight = block.norm1.view,
                                         .eps = kNormEps,
                                         .out = normed}));
  const auto& whole = vision_.fullatt_block_indexes;
  LONGHAND_RETURN_IF_ERROR(
      Attention(block_idx, std::find(whole.begin(), whole.end(), block_idx) != whole.end()));
  LONGHAND_RETURN_IF_ERROR(ops_.RmsNorm({.x = delta,
                                         .residual = residual,
                                         .weight = block.norm2.view,
                                         .eps = kNormEps,
                                         .out = normed}));
  LONGHAND_RETURN_IF_ERROR(Mlp(block_idx));
  if (!observer_) return OkStatus();
  return Observe(observer_, ops_, "vit/block" + std::to_string(block_idx), residual, delta);
}

Status VisionEncoder::Attention(int64_t block_idx, bool whole_image) {
  const VisionBlockWeights& block = weights_.blocks[block_idx];
  const int64_t heads = vision_.num_heads;
  const int64_t head_dim = vision_.head_dim();
  const TensorView normed = Rows(space_.normed, vision_.hidden_size);
  LONGHAND_RETURN_IF_ERROR(Linear(normed, block.qkv,
                                  VisionGroup(config_, block_idx, LayerGroup::kQkv),
                                  Rows(space_.wide, 3 * vision_.hidden_size)));
  const TensorView qkv = Reshape(space_.wide.view, {num_patches_, 3, heads, head_dim});
  LONGHAND_RETURN_IF_ERROR(ops_.VisionRope(
      {.qkv = qkv, .cos = Rows(space_.cos, head_dim / 2), .sin = Rows(space_.sin, head_dim / 2)}));
  LONGHAND_RETURN_IF_ERROR(ops_.VisionAttention(
      {.qkv = qkv,
       .cu_seqlens = whole_image ? Reshape(space_.frames.view, {2})
                                 : Reshape(space_.windows.view, {num_windows_ + 1}),
       .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
       .out = Reshape(normed, {num_patches_, heads, head_dim})}));
  return Linear(normed, block.proj, VisionGroup(config_, block_idx, LayerGroup::kO),
                Rows(space_.delta, vision_.hidden_size));
}

Status VisionEncoder::Mlp(int64_t block_idx) {
  const VisionBlockWeights& block = weights_.blocks[block_idx];
  const int64_t ffn = vision_.padded_intermediate_size();
  const TensorView normed = Rows(space_.normed, vision_.hidden_size);
  const TensorView delta = Rows(space_.delta, vision_.hidden_size);
  for (int64_t begin = 0; begin < num_patches_; begin += kMlpRows) {
    const int64_t rows = std::min(kMlpRows, num_patches_ - begin);
    const TensorView mid = Reshape(space_.mid.view, {rows, ffn});
    const kernels::LinearArgs gate_up{.x = normed.Slice(begin, rows),
                                      .weight = block.gate_up.weight.get(),
                                      .bias = block.gate_up.bias.view,
                                      .out = mid};
    LONGHAND_RETURN_IF_ERROR(
        adapter_rows_.empty()
            ? ops_.Linear(gate_up)
            : adapters_->GateUp(VisionGroup(config_, block_idx, LayerGroup::kGateUp), gate_up,
                                adapter_rows_.Slice(begin, rows)));
    LONGHAND_RETURN_IF_ERROR(Linear(mid, block.down,
                                    VisionGroup(config_, block_idx, LayerGroup::kDown),
                                    delta.Slice(begin, rows)));
  }
  return OkStatus();
}

// The norm is per patch; the merge^2 patches of a unit are then one row of the merger's MLP. Undone
// last: the window order, by scattering the units to where they belong.
Status VisionEncoder::Finish(TensorView out) {
  LONGHAND_CHECK_EQ(next_block_, vision_.depth);
  const int64_t unit = vision_.patches_per_token();
  const int64_t units = num_patches_ / unit;
  const int64_t merged = vision_.hidden_size * unit;
  const TensorView normed = Rows(space_.normed, vision_.hidden_size);
  LONGHAND_RETURN_IF_ERROR(ops_.RmsNorm({.x = Rows(space_.delta, vision_.hidden_size),
                                         .residual = Rows(space_.residual, vision_.hidden_size),
                                         .weight = weights_.merger_norm.view,
                                         .eps = kNormEps,
                                         .out = normed}));
  const TensorView hidden = Reshape(space_.delta.view, {units, merged});
  LONGHAND_RETURN_IF_ERROR(Linear(Reshape(normed, {units, merged}), weights_.merger_fc1,
                                  MergerGroup(config_, 0), hidden));
  LONGHAND_RETURN_IF_ERROR(ops_.Gelu({.x = hidden}));
  const TensorView in_windows = Reshape(space_.wide.view, {units, vision_.out_hidden_size});
  LONGHAND_RETURN_IF_ERROR(
      Linear(hidden, weights_.merger_fc2, MergerGroup(config_, 1), in_windows));
  LONGHAND_RETURN_IF_ERROR(ops_.ScatterRows(
      {.x = in_windows, .rows = Reshape(space_.unit_rows.view, {units}), .out = out}));
  num_patches_ = 0;
  return OkStatus();
}

Status VisionEncoder::Linear(TensorView x,
                             const BiasedLinear& layer,
                             int64_t group,
                             TensorView out) {
  LONGHAND_RETURN_IF_ERROR(
      ops_.Linear({.x = x, .weight = layer.weight.get(), .bias = layer.bias.view, .out = out}));
  if (adapter_rows_.empty()) return OkStatus();
  return adapters_->AddDelta(group, x, /*x_scale=*/{}, adapter_rows_.Slice(0, x.dim(0)), out);
}

}  // namespace longhand::model
