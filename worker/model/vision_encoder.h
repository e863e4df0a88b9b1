// VisionEncoder: from pixels to the embeddings of an image's tokens, a range of blocks at a time.
//
// Holds one image in hand: Begin() starts one, whatever was in hand before; RunBlocks() takes it
// further, in order; Finish() hands out the embeddings. Patches stand in window order from Begin()
// to Finish(). Executor thread.
//
// Source: the ViT of Qwen2.5-VL; windows of 8 x 8 patches, a few blocks that see the whole image.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/config/model_config.h"
#include "common/status.h"
#include "kernels/ops.h"
#include "worker/model/adapters.h"
#include "worker/model/device_tensor.h"
#include "worker/model/observer.h"
#include "worker/model/vision_geometry.h"
#include "worker/model/weights.h"
#include "worker/model/workspace.h"

namespace longhand::model {

class VisionEncoder {
 public:
  // All memory is taken here, for images of at most `max_patches`. `activation` is the Ops'. The
  // weights and the Ops must outlive the encoder.
  static Result<std::unique_ptr<VisionEncoder>> Create(const ModelConfig& config,
                                                       const VisionWeights& weights,
                                                       DType activation,
                                                       int64_t max_patches,
                                                       kernels::Ops& ops);
  static int64_t WorkspaceBytes(const VisionConfig& vision, DType activation, int64_t max_patches);

  // pixels [height, width, 3] RGB, in host memory. kInvalidArgument when the size is not a multiple
  // of 28 pixels (in general, of a unit), or larger than the workspace. `adapter`: its slot, or -1.
  Status Begin(const uint8_t* pixels, int64_t height, int64_t width, int64_t adapter = -1);
  // Blocks [begin, end); `begin` is where the image in hand stands.
  Status RunBlocks(int64_t begin, int64_t end);
  // After the last block: out [units, out_hidden_size] in the activation dtype, in the merged
  // order.
  Status Finish(TensorView out);

  // Tokens that an image of this size becomes.
  int64_t NumTokens(int64_t height, int64_t width) const;
  Status CheckSize(int64_t height, int64_t width) const;
  // Where images name adapters; they must outlive the encoder.
  void SetAdapters(Adapters* adapters) { adapters_ = adapters; }
  void SetObserver(Observer observer) { observer_ = std::move(observer); }

 private:
  // P = max_patches, h = hidden, ffn = the padded width of the MLP, A = activation dtype.
  struct Workspace {
    DeviceTensor pixels;      // [P * patch_size^2 * 3] u8
    DeviceTensor wide;        // [P * max(3 h, patch_dim, out_hidden / 4)] A
    DeviceTensor residual;    // [P, h] A
    DeviceTensor normed;      // [P, h] A: also attention's output
    DeviceTensor delta;       // [P, h] A: the branch not yet added to the residual
    DeviceTensor mid;         // [kMlpRows, ffn] A
    DeviceTensor patch_rows;  // [P] i32: patches in window order
    DeviceTensor unit_rows;   // [P / 4] i32: units in window order
    DeviceTensor cos;         // [P, head_dim / 2] f32
    DeviceTensor sin;         // [P, head_dim / 2] f32
    DeviceTensor windows;     // [P / 4 + 1] i32
    DeviceTensor frames;      // [2] i32
  };

  VisionEncoder(const ModelConfig& config,
                const VisionWeights& weights,
                DType activation,
                int64_t max_patches,
                kernels::Ops& ops)
      : config_(config),
        vision_(config_.vision),
        weights_(weights),
        activation_(activation),
        max_patches_(max_patches),
        ops_(ops) {}

  // Every part of the workspace with its size: what is allocated, and what the budget says.
  static std::vector<WorkspacePart<Workspace>> Parts(const VisionConfig& vision,
                                                     DType activation,
                                                     int64_t max_patches);
  Status PrepareGeometry(const ImageGrid& grid);
  Status EmbedPatches(const uint8_t* pixels, int64_t height, int64_t width);
  Status RunBlock(int64_t block_idx);
  Status Attention(int64_t block_idx, bool whole_image);
  Status Mlp(int64_t block_idx);
  // delta = x * weight^T + bias and the like, for the first rows of a workspace tensor; with the
  // delta of the image's adapter, of which `group` says which.
  Status Linear(TensorView x, const BiasedLinear& layer, int64_t group, TensorView out);
  TensorView Rows(const DeviceTensor& tensor, int64_t width) const;

  const ModelConfig config_;
  const VisionConfig& vision_;
  const VisionWeights& weights_;
  const DType activation_;
  const int64_t max_patches_;
  kernels::Ops& ops_;
  Observer observer_;
  Workspace space_;

  Adapters* adapters_ = nullptr;

  // The image in hand.
  TensorView adapter_rows_;  // [patches] i32, or empty
  int64_t num_patches_ = 0;
  int64_t num_windows_ = 0;
  int64_t next_block_ = 0;
  // Tables on their way to the device; they stay until the Ops has copied them.
  std::vector<int32_t> patch_rows_;
  std::vector<int32_t> frames_;
  WindowOrder windows_;
  VisionRopeTables rope_;
};

}  // namespace longhand::model
