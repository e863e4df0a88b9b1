#include "worker/runner/score_chunks.h"

#include <algorithm>

namespace longhand::runner {

Status ScoreChunks(const StepPlan& plan,
                   int64_t max_rows,
                   model::Decoder& decoder,
                   TokenSampler& sampler,
                   comm::Communicator& communicator,
                   std::vector<SequenceResult>* results) {
  const auto rows_at_once = static_cast<size_t>(max_rows);
  int32_t first = 0;
  for (size_t i = 0; i < plan.chunks.size(); ++i) {
    const SequenceChunk& chunk = plan.chunks[i];
    SequenceResult& result = (*results)[i];
    const auto num_top = static_cast<size_t>(chunk.num_score_top);
    if (!chunk.score_token_ids.empty()) {
      result.score_logprobs.resize(chunk.token_ids.size());
      result.score_top.resize(chunk.token_ids.size() * num_top);
    }
    std::vector<int32_t> offsets;  // of the wanted tokens within the chunk
    for (size_t j = 0; j < chunk.score_token_ids.size(); ++j) {
      if (chunk.score_token_ids[j] >= 0) offsets.push_back(static_cast<int32_t>(j));
    }
    for (size_t begin = 0; begin < offsets.size(); begin += rows_at_once) {
      std::vector<int32_t> rows;
      std::vector<int32_t> token_ids;
      for (size_t j = begin; j < std::min(begin + rows_at_once, offsets.size()); ++j) {
        rows.push_back(first + offsets[j]);
        token_ids.push_back(chunk.score_token_ids[static_cast<size_t>(offsets[j])]);
      }
      LONGHAND_ASSIGN_OR_RETURN(const kernels::VocabShard shard, decoder.Logits(rows));
      LONGHAND_ASSIGN_OR_RETURN(const TensorView logits, decoder.GatherLogits(shard, communicator));
      if (communicator.rank() != 0) continue;
      LONGHAND_ASSIGN_OR_RETURN(const std::vector<SampledToken> scored,
                                sampler.Score(logits, token_ids, chunk.num_score_top));
      for (size_t j = 0; j < scored.size(); ++j) {
        const auto at = static_cast<size_t>(offsets[begin + j]);
        result.score_logprobs[at] = scored[j].logprob;
        std::ranges::copy(scored[j].top, result.score_top.data() + at * num_top);
      }
    }
    first += static_cast<int32_t>(chunk.token_ids.size());
  }
  return OkStatus();
}

}  // namespace longhand::runner
