// PanelWeight: a weight of the CPU backend, as linear_kernel.h reads it.
#pragma once

#include <memory>
#include <utility>

#include "kernels/cpu/linear_kernels.h"
#include "kernels/ops.h"

namespace longhand::kernels::cpu {

inline int64_t NumPanels(int64_t out_features) {
  return (out_features + kPanelColumns - 1) / kPanelColumns;
}

class PanelWeight final : public PackedLinear {
 public:
  // `scales`: weight_scale or groups of LinearTask, where the format has them; int8's are in the
  // panels.
  PanelWeight(PanelFormat format,
              LinearLayout layout,
              int64_t out_features,
              int64_t in_features,
              std::unique_ptr<Buffer> panels,
              std::unique_ptr<Buffer> scales = nullptr,
              int64_t group_size = 0)
      : PackedLinear(layout),
        format_(format),
        out_features_(out_features),
        in_features_(in_features),
        group_size_(group_size),
        panels_(std::move(panels)),
        scales_(std::move(scales)) {}

  int64_t out_features() const override { return out_features_; }
  int64_t in_features() const override { return in_features_; }
  bool is_quantized() const override {
    return format_ != PanelFormat::kF32 && format_ != PanelFormat::kBf16;
  }
  size_t size_bytes() const override {
    return panels_->size_bytes() + (scales_ == nullptr ? 0 : scales_->size_bytes());
  }

  // With what a weight says of a task.
  LinearTask MakeTask() const {
    LinearTask task;
    task.weight = static_cast<const char*>(panels_->data());
    task.format = format_;
    task.in_features = in_features_;
    task.out_features = out_features_;
    task.group_size = group_size_;
    if (format_ == PanelFormat::kInt4) {
      task.groups = static_cast<const uint32_t*>(scales_->data());
    } else if (scales_ != nullptr) {
      task.weight_scale = static_cast<const float*>(scales_->data());
    }
    return task;
  }

 private:
  PanelFormat format_;
  int64_t out_features_, in_features_, group_size_;
  std::unique_ptr<Buffer> panels_;
  std::unique_ptr<Buffer> scales_;
};

}  // namespace longhand::kernels::cpu
