#include "common/config/quantization.h"

namespace longhand {

std::string_view QuantizationName(Quantization quantization) {
  switch (quantization) {
    case Quantization::kNone:
      return "none";
    case Quantization::kInt8:
      return "int8";
    case Quantization::kFp8:
      return "fp8";
    case Quantization::kAwq:
      return "awq";
  }
  return "unknown";
}

Result<Quantization> ParseQuantization(std::string_view name) {
  for (const Quantization quantization :
       {Quantization::kNone, Quantization::kInt8, Quantization::kFp8, Quantization::kAwq}) {
    if (name == QuantizationName(quantization)) return quantization;
  }
  return InvalidArgument("the quantization is '", name, "'; it must be none, int8, fp8 or awq");
}

Result<Quantization> ChooseQuantization(std::string_view asked,
                                        const CheckpointQuantization& checkpoint) {
  if (asked == "auto") return checkpoint.method;
  LONGHAND_ASSIGN_OR_RETURN(const Quantization wanted, ParseQuantization(asked));
  if (checkpoint.method != Quantization::kNone && wanted != checkpoint.method) {
    return InvalidArgument("--quantization is ", asked, "; the checkpoint's weights are ",
                           QuantizationName(checkpoint.method), " already, so it must be auto or ",
                           QuantizationName(checkpoint.method));
  }
  if (wanted == Quantization::kAwq && checkpoint.method == Quantization::kNone) {
    return InvalidArgument(
        "--quantization is awq; the checkpoint's weights are not (config.json has no "
        "quantization_config), so it must be auto, none, int8 or fp8");
  }
  return wanted;
}

bool RunsCudaSources(std::string_view device) { return device == "cuda" || device == "emulated"; }

Status CheckDeviceQuantizes(std::string_view device, DType model_dtype, Quantization quantization) {
  if (!RunsCudaSources(device) || quantization == Quantization::kNone) return OkStatus();
  if (quantization == Quantization::kInt8) {
    return InvalidArgument("--quantization is int8; on --device ", device,
                           " it must be auto, none, fp8 or awq");
  }
  if (model_dtype == DType::kBf16) return OkStatus();
  return InvalidArgument("--dtype is ", DTypeName(model_dtype), "; with --quantization ",
                         QuantizationName(quantization), " on --device ", device,
                         " it must be bfloat16");
}

int64_t ShardGroupSize(const IndexRange& columns, int64_t group_size) {
  return columns.begin % group_size == 0 && columns.size() % group_size == 0 ? group_size
                                                                             : kHalfGroup;
}

}  // namespace longhand
