// SliceView: the rows and columns of a checkpoint's tensor that a rank reads, in the file's memory.
#pragma once

#include <cstdint>

#include "worker/model/checkpoint.h"
#include "worker/model/weight_source.h"

namespace longhand::model {

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

// The tensor must be there and hold the slice.
SliceView ViewOf(const Checkpoint& checkpoint, const TensorSlice& slice);

// f32, bf16 or f16 at any address, to f32 or bf16 rounded to nearest even.
void Convert(const char* from, DType from_dtype, char* to, DType to_dtype, int64_t count);

}  // namespace longhand::model
