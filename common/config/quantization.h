// How linear layers are kept in memory: what --quantization says, and what a checkpoint that is
// quantised already asks for. The decoder's layers are quantised; the head and the image encoder in
// int8 alone; embeddings, of tokens and of patches, and norms never are.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/config/index_range.h"
#include "common/status.h"
#include "common/tensor_view.h"

namespace longhand {

enum class Quantization : uint8_t {
  kNone,
  // A scale for each output and group of inputs; activations are rounded by groups too.
  kInt8,
  kFp8,  // a scale for each output; activations are rounded to fp8 too, with a scale for each token
  kAwq,  // 4 bits; a scale and a zero for each output and group of inputs
};

inline constexpr int64_t kInt8GroupSize = 32;

// Whether the head and the image encoder are quantised as the decoder's layers are.
constexpr bool QuantizesHeadAndEncoder(Quantization quantization) {
  return quantization == Quantization::kInt8;
}

// As --quantization has it: "none", "int8", "fp8", "awq".
std::string_view QuantizationName(Quantization quantization);
// kInvalidArgument for other names.
Result<Quantization> ParseQuantization(std::string_view name);

// What quantization_config of config.json says.
struct CheckpointQuantization {
  Quantization method = Quantization::kNone;  // kFp8: compressed-tensors; kAwq: AutoAWQ, "gemm"
  int64_t group_size = 128;                   // kAwq
};

// `asked` is a name, or "auto": the checkpoint's own. kInvalidArgument when the checkpoint cannot
// be loaded so.
Result<Quantization> ChooseQuantization(std::string_view asked,
                                        const CheckpointQuantization& checkpoint);

// Whether workers on `device` run the CUDA sources, on a GPU or emulated.
bool RunsCudaSources(std::string_view device);

// Whether workers on `device` multiply such weights in a model of this dtype; kInvalidArgument says
// what would do.
Status CheckDeviceQuantizes(std::string_view device, DType model_dtype, Quantization quantization);

// The groups of a rank's inputs: those of the checkpoint or, where a shard ends inside of one,
// halves of them.
inline constexpr int64_t kHalfGroup = 64;
int64_t ShardGroupSize(const IndexRange& columns, int64_t group_size);

}  // namespace longhand
