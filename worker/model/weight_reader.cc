#include "worker/model/weight_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/bf16.h"

namespace longhand::model {
namespace {

// IEEE half precision to float; exact.
float HalfToFloat(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24
    const float value = static_cast<float>(fraction) * 0x1.0p-24f;
    return sign != 0 ? -value : value;
  }
  const uint32_t wide = exponent == 0x1f ? 0xffu : exponent + 112u;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

float LoadElement(const char* from, DType dtype) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, from, sizeof(value));
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, from, sizeof(bits));
  if (dtype == DType::kF16) return HalfToFloat(bits);
  Bf16 value;
  value.bits = bits;
  return static_cast<float>(value);
}

void Convert(const char* from, DType from_dtype, char* to, DType to_dtype, int64_t count) {
  const size_t from_size = DTypeSize(from_dtype);
  if (from_dtype == to_dtype) {
    std::memcpy(to, from, static_cast<size_t>(count) * from_size);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const float value = LoadElement(from + i * from_size, from_dtype);
    if (to_dtype == DType::kF32) {
      std::memcpy(to + i * sizeof(float), &value, sizeof(float));
    } else {
      const Bf16 rounded(value);
      std::memcpy(to + i * sizeof(Bf16), &rounded, sizeof(Bf16));
    }
  }
}

IndexRange OrAll(IndexRange range, int64_t count) {
  return range.size() == 0 ? IndexRange{0, count} : range;
}

struct SliceView {
  const CheckpointTensor* tensor = nullptr;
  int64_t width = 0;  // elements of a row in the file
  IndexRange rows;
  IndexRange columns;
  int64_t padded_rows = 0;  // at least those of `rows`, likewise the columns
  int64_t padded_columns = 0;

  const char* Row(int64_t row) const {
    return tensor->data + (row * width + columns.begin) * DTypeSize(tensor->dtype);
  }
  // Rows follow each other in the file as they will in memory.
  bool contiguous() const { return columns.size() == width && padded_columns == width; }
};

SliceView ViewOf(const Checkpoint& checkpoint, const TensorSlice& slice) {
  SliceView view;
  view.tensor = checkpoint.Find(slice.name);
  LONGHAND_CHECK(view.tensor != nullptr && !view.tensor->shape.empty()) << slice.name;
  const int64_t rows = view.tensor->shape[0];
  view.width = 1;
  for (size_t i = 1; i < view.tensor->shape.size(); ++i) view.width *= view.tensor->shape[i];
  view.rows = OrAll(slice.rows, rows);
  view.columns = OrAll(slice.columns, view.width);
  LONGHAND_CHECK(view.rows.end <= rows && view.columns.end <= view.width) << slice.name;
  view.padded_rows = std::max(view.rows.size(), slice.padded_rows);
  view.padded_columns = std::max(view.columns.size(), slice.padded_columns);
  return view;
}

}  // namespace

Result<TensorView> WeightReader::Stage(const std::vector<TensorSlice>& slices, DType dtype) {
  std::vector<SliceView> views;
  int64_t rows = 0;
  for (const TensorSlice& slice : slices) {
    views.push_back(ViewOf(checkpoint_, slice));
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
    const std::vector<TensorSlice>& slices) {
  LONGHAND_ASSIGN_OR_RETURN(const TensorView view, Stage(slices, weight_dtype_));
  auto packed = ops_.PackLinear(view);
  if (!packed.ok()) return packed.status().WithContext(slices.front().name);
  Finish(slices, static_cast<int64_t>(view.num_bytes()));
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
