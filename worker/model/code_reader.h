// CodeReader: a checkpoint's linear layers as codes and scales, whether they are so in the files or
// become so here.
#pragma once

#include <cstdint>
#include <vector>

#include "common/config/quantization.h"
#include "common/status.h"
#include "kernels/quantized_weight.h"
#include "worker/model/checkpoint.h"
#include "worker/model/weight_source.h"

namespace longhand::model {

class CodeReader {
 public:
  // Rows are divided among so many threads, the caller's included; what is read does not depend on
  // it.
  explicit CodeReader(int num_threads) : num_threads_(num_threads) {}

  // The slices, named as float weights are ("...q_proj.weight"), one below the other; valid until
  // the next call. `on_disk` is what the files hold; its tensors must have been checked.
  // kInvalidArgument naming the tensor where fp8 codes are NaN, or what becomes int8 is no number:
  // kernels take every code for a number.
  Result<kernels::QuantizedWeight> Read(const Checkpoint& checkpoint,
                                        const std::vector<TensorSlice>& slices,
                                        Quantization quantization,
                                        const CheckpointQuantization& on_disk);
  // The slice has been read: its pages may go.
  void Release(const Checkpoint& checkpoint, const TensorSlice& slice) const;

 private:
  kernels::QuantizedWeight ToFp8(const Checkpoint& checkpoint,
                                 const std::vector<TensorSlice>& slices);
  kernels::QuantizedWeight ToInt8(const Checkpoint& checkpoint,
                                  const std::vector<TensorSlice>& slices);
  kernels::QuantizedWeight ReadFp8(const Checkpoint& checkpoint,
                                   const std::vector<TensorSlice>& slices);
  kernels::QuantizedWeight ReadAwq(const Checkpoint& checkpoint,
                                   const std::vector<TensorSlice>& slices,
                                   int64_t group_size);
  kernels::QuantizedWeight Fp8Rows(int64_t rows, int64_t columns);
  // kInvalidArgument for the first element of `slices`, as they were just read, that is no number;
  // find(view, row in the file, row of all that was read) is its column, or how many there are.
  template <typename Find>
  Status CheckNumbers(const Checkpoint& checkpoint,
                      const std::vector<TensorSlice>& slices,
                      const Find& find) const;

  const int num_threads_;
  std::vector<uint8_t> codes_;
  std::vector<float> scales_;
  std::vector<Bf16> group_scales_;
  std::vector<uint8_t> group_zeros_;
};

// The tensors of a quantised layer: "a.weight" is kept as "a.qweight" and others.
struct AwqNames {
  std::string codes, zeros, scales;
};
AwqNames AwqNamesOf(const std::string& weight);
std::string ScaleNameOf(const std::string& weight);  // fp8

}  // namespace longhand::model
