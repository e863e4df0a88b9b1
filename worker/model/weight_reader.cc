#include "worker/model/weight_reader.h"

#include <algorithm>

#include "worker/model/slice_view.h"

namespace longhand::model {
namespace {

// After so much of a file there is progress to tell: a second, of a disk that is slow.
constexpr int64_t kPieceBytes = int64_t{16} << 20;
constexpr int64_t kPageBytes = 4096;

}  // namespace

void WeightReader::ReadIn(const SliceView& view) {
  if (!progress_) return;
  const int64_t num_rows = view.contiguous() ? view.rows.size() : 1;
  const auto bytes =
      static_cast<int64_t>(DTypeSize(view.tensor->dtype)) * num_rows * view.columns.size();
  for (int64_t row = view.rows.begin; row < view.rows.end; row += num_rows) {
    for (int64_t at = 0; at < bytes; at += kPageBytes) {
      (void)*static_cast<const volatile char*>(view.Row(row) + at);
      read_bytes_ += std::min(kPageBytes, bytes - at);
      if (read_bytes_ < kPieceBytes) continue;
      read_bytes_ = 0;
      progress_(done_bytes_, total_bytes_);
    }
  }
}

Result<TensorView> WeightReader::Stage(const std::vector<TensorSlice>& slices, DType dtype) {
  std::vector<SliceView> views;
  int64_t rows = 0;
  for (const TensorSlice& slice : slices) {
    views.push_back(ViewOf(checkpoint_, slice));
    ReadIn(views.back());
    rows += views.back().padded_rows;
    LONGHAND_CHECK_EQ(views.back().padded_columns, views.front().padded_columns);
  }
  const SliceView& first = views.front();
  const int64_t columns = first.padded_columns;
  const auto address = reinterpret_cast<uintptr_t>(first.Row(first.rows.begin));
  if (views.size() == 1 && rows == first.rows.size() && first.contiguous() &&
      first.tensor->dtype == dtype && address % DTypeSize(dtype) == 0) {
    // The view is only read from.
    return TensorView(const_cast<char*>(first.Row(first.rows.begin)), dtype, {rows, columns});
  }

  const size_t row_bytes = static_cast<size_t>(columns) * DTypeSize(dtype);
  const size_t bytes = static_cast<size_t>(rows) * row_bytes;
  if (staging_.size() < bytes) staging_.resize(bytes);
  char* to = staging_.data();
  for (const SliceView& view : views) {
    char* const end = to + static_cast<size_t>(view.padded_rows) * row_bytes;
    const int64_t step = view.contiguous() ? view.rows.size() : 1;
    const int64_t count = step * view.columns.size();
    for (int64_t row = view.rows.begin; row < view.rows.end; row += step) {
      Convert(view.Row(row), view.tensor->dtype, to, dtype, count);
      char* const next = to + static_cast<size_t>(step) * row_bytes;
      std::fill(to + static_cast<size_t>(count) * DTypeSize(dtype), next, 0);
      to = next;
    }
    to = std::fill_n(to, end - to, 0);
  }
  return TensorView(staging_.data(), dtype, {rows, columns});
}

void WeightReader::Finish(const std::vector<TensorSlice>& slices, int64_t bytes) {
  for (const TensorSlice& slice : slices) checkpoint_.Release(*checkpoint_.Find(slice.name));
  done_bytes_ += bytes;
  if (progress_) progress_(done_bytes_, total_bytes_);
}

Result<std::unique_ptr<kernels::PackedLinear>> WeightReader::Linear(
    const std::vector<TensorSlice>& slices, kernels::LinearLayout layout) {
  LONGHAND_ASSIGN_OR_RETURN(const TensorView view, Stage(slices, weight_dtype_));
  auto packed = ops_.PackLinear(view, layout);
  if (!packed.ok()) return packed.status().WithContext(slices.front().name);
  Finish(slices, static_cast<int64_t>(view.num_bytes()));
  return std::move(packed).value();
}

Result<std::unique_ptr<kernels::PackedLinear>> WeightReader::LayerLinear(
    const std::vector<TensorSlice>& slices, kernels::LinearLayout layout) {
  if (quantization() == Quantization::kNone) return Linear(slices, layout);
  for (const TensorSlice& slice : slices) {
    // Four-bit codes have another name, and are few.
    if (checkpoint_.Find(slice.name) != nullptr) ReadIn(ViewOf(checkpoint_, slice));
  }
  LONGHAND_ASSIGN_OR_RETURN(const kernels::QuantizedWeight weight,
                            codes_.Read(checkpoint_, slices, quantization(), on_disk_));
  auto packed = ops_.PackQuantized(weight, layout);
  if (!packed.ok()) return packed.status().WithContext(slices.front().name);
  for (const TensorSlice& slice : slices) codes_.Release(checkpoint_, slice);
  Finish({}, static_cast<int64_t>(weight.num_bytes()));
  return std::move(packed).value();
}

Result<DeviceTensor> WeightReader::Matrix(const TensorSlice& slice) {
  LONGHAND_ASSIGN_OR_RETURN(const TensorView view, Stage({slice}, weight_dtype_));
  LONGHAND_ASSIGN_OR_RETURN(DeviceTensor out,
                            AllocateTensor(ops_, weight_dtype_, {view.dim(0), view.dim(1)}));
  LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(out.view.data(), view.data(), view.num_bytes()));
  LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
  Finish({slice}, static_cast<int64_t>(view.num_bytes()));
  return out;
}

Result<DeviceTensor> WeightReader::Vector(const std::vector<TensorSlice>& slices) {
  LONGHAND_ASSIGN_OR_RETURN(const TensorView view, Stage(slices, DType::kF32));
  LONGHAND_ASSIGN_OR_RETURN(DeviceTensor out, AllocateTensor(ops_, DType::kF32, {view.dim(0)}));
  LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(out.view.data(), view.data(), view.num_bytes()));
  LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
  Finish(slices, static_cast<int64_t>(view.num_bytes()));
  return out;
}

}  // namespace longhand::model
