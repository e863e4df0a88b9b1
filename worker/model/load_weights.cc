#include "worker/model/checkpoint.h"
#include "worker/model/tensor_specs.h"
#include "worker/model/weight_reader.h"
#include "worker/model/weights.h"

namespace longhand::model {

DType WeightDTypeOf(const Checkpoint& checkpoint, DType model_dtype) {
  DType on_disk = DType::kBf16;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    // Those of quantised layers are never kept as floats.
    if (!name.ends_with(".weight") || !IsFloat(tensor.dtype)) continue;
    if (tensor.shape.size() > 1 && tensor.dtype != DType::kBf16) on_disk = tensor.dtype;
  }
  return WeightDType(on_disk, model_dtype);
}

Result<ModelWeights> LoadWeights(const Checkpoint& checkpoint,
                                 const ModelConfig& config,
                                 int32_t tp_size,
                                 int32_t rank,
                                 DType model_dtype,
                                 Quantization quantization,
                                 kernels::Ops& ops,
                                 const LoadProgress& progress,
                                 int num_threads) {
  ModelConfig model = config;
  // What config.json ties may be in the files all the same, equal to the embedding or trained apart
  // from it: the files are right, as in the reference.
  if (checkpoint.Find("lm_head.weight") != nullptr) model.tie_word_embeddings = false;
  LONGHAND_RETURN_IF_ERROR(CheckTensors(checkpoint, model));
  const DType weight_dtype = WeightDTypeOf(checkpoint, model_dtype);
  LONGHAND_ASSIGN_OR_RETURN(const ShardPlan plan,
                            PlanShards(model, tp_size, weight_dtype, model_dtype, quantization));
  LONGHAND_CHECK(rank >= 0 && rank < tp_size) << "rank " << rank << " of " << tp_size;
  WeightReader reader(checkpoint, weight_dtype, quantization, model.quantization,
                      plan.ranks[rank].weight_bytes, ops, progress, num_threads);
  LONGHAND_ASSIGN_OR_RETURN(ModelWeights weights, ReadWeights(reader, model, plan, rank));
  weights.rounds_rows = quantization == Quantization::kFp8;
  return weights;
}

}  // namespace longhand::model
