#include "worker/runner/token_sampler.h"

#include <algorithm>
#include <span>

namespace longhand::runner {

using model::Reshape;

Result<std::unique_ptr<TokenSampler>> TokenSampler::Create(int64_t max_rows,
                                                           int64_t num_ranks,
                                                           TensorView history,
                                                           kernels::Ops& ops) {
  std::unique_ptr<TokenSampler> sampler(new TokenSampler(num_ranks, history, ops));
  const Status status = model::AllocateParts(ops, Parts(max_rows, num_ranks), &sampler->space_);
  LONGHAND_RETURN_IF_ERROR(status.WithContext("sampling workspace"));
  LONGHAND_ASSIGN_OR_RETURN(sampler->host_ids_,
                            ops.AllocateStaging(static_cast<size_t>(StagingBytes(max_rows))));
  sampler->rows_.reserve(static_cast<size_t>(max_rows));
  return sampler;
}

std::vector<model::WorkspacePart<TokenSampler::Workspace>> TokenSampler::Parts(int64_t max_rows,
                                                                               int64_t num_ranks) {
  const int64_t shared_rows = num_ranks > 1 ? num_ranks * max_rows : 0;
  return {
      {&Workspace::token_ids, DType::kI32, max_rows, 1},
      {&Workspace::likeliest, DType::kI64, shared_rows, 1},
      {&Workspace::words, DType::kI64, shared_rows, kernels::kShardWords},
      {&Workspace::logprobs, DType::kF32, max_rows, 1},
      {&Workspace::top_ids, DType::kI32, max_rows, kMaxTop},
      {&Workspace::top_logprobs, DType::kF32, max_rows, kMaxTop},
  };
}

Result<std::vector<SampledToken>> TokenSampler::Sample(kernels::VocabShard logits,
                                                       const std::vector<SampleRequest>& requests,
                                                       const GatherLogits& gather,
                                                       comm::Communicator& communicator) {
  if (ops_.CanRecord()) {
    LONGHAND_RETURN_IF_ERROR(Stage(requests, logits.logits.dim(0), logits.vocab_size));
  } else {
    CollectRows(requests);
    logits.rows = &rows_;
  }
  LONGHAND_RETURN_IF_ERROR(Draw(logits, communicator));
  return Fetch(requests, gather, communicator);
}

Status TokenSampler::Stage(const std::vector<SampleRequest>& requests,
                           int64_t num_rows,
                           int64_t vocab_size) {
  static const SamplingParams kGreedy{.temperature = 0};
  CollectRows(requests);
  rows_.resize(static_cast<size_t>(num_rows), kernels::SampleRow{.params = &kGreedy});
  return ops_.StageSampleRows(rows_, vocab_size);
}

Status TokenSampler::DrawStaged(kernels::VocabShard logits, comm::Communicator& communicator) {
  logits.rows = nullptr;
  return Draw(logits, communicator);
}

Status TokenSampler::Draw(kernels::VocabShard logits, comm::Communicator& communicator) {
  logits.history = history_;
  const int64_t num_rows = logits.logits.dim(0), num_ranks = communicator.size();
  const TensorView token_ids = Reshape(space_.token_ids.view, {num_rows});
  if (num_ranks == 1) {
    return ops_.Sample({.logits = logits.logits,
                        .rows = logits.rows,
                        .token_ids = token_ids,
                        .history = history_});
  }
  const TensorView likeliest = Reshape(space_.likeliest.view, {num_ranks, num_rows});
  const TensorView words = Reshape(space_.words.view, {num_ranks, num_rows, kernels::kShardWords});
  const TensorView own_likeliest = likeliest.Slice(communicator.rank(), 1);
  const TensorView own_words = words.Slice(communicator.rank(), 1);
  LONGHAND_RETURN_IF_ERROR(
      ops_.ShardLikeliest({.shard = logits, .likeliest = Reshape(own_likeliest, {num_rows})}));
  LONGHAND_RETURN_IF_ERROR(communicator.AllGather(own_likeliest, likeliest));
  LONGHAND_RETURN_IF_ERROR(
      ops_.ShardCandidates({.shard = logits,
                            .likeliest = likeliest,
                            .words = Reshape(own_words, {num_rows, kernels::kShardWords})}));
  LONGHAND_RETURN_IF_ERROR(communicator.AllGather(own_words, words));
  return ops_.JoinShards({.likeliest = likeliest,
                          .words = words,
                          .vocab_size = logits.vocab_size,
                          .rows = logits.rows,
                          .token_ids = token_ids,
                          .history = history_});
}

Result<std::span<const int32_t>> TokenSampler::CopyIds(int64_t count) {
  turn_ = 1 - turn_;
  return CopyIdsAgain(count);
}

Result<std::span<const int32_t>> TokenSampler::CopyIdsAgain(int64_t count) {
  const TensorView token_ids = Reshape(space_.token_ids.view, {count});
  auto* ids = static_cast<int32_t*>(host_ids_->data()) + turn_ * space_.token_ids.view.dim(0);
  LONGHAND_RETURN_IF_ERROR(ops_.CopyToHost(ids, token_ids.data(), token_ids.num_bytes()));
  return std::span<const int32_t>(ids, static_cast<size_t>(count));
}

Status TokenSampler::Synchronize(comm::Communicator& communicator) {
  LONGHAND_RETURN_IF_ERROR(communicator.Synchronize());
  return ops_.Synchronize();
}

// Over several ranks a nucleus may reach beyond the candidates that they tell each other of.
bool TokenSampler::DrawSettles(const SamplingParams& params) const {
  const bool by_count = params.top_k > 0 && params.top_k <= kernels::kShardCandidates;
  const bool is_open = params.top_k > 0 || params.top_p < 1;
  const bool settles = num_ranks_ == 1 || params.temperature == 0 || by_count || !is_open;
  return settles && params.num_logprobs < 0;
}

Result<std::vector<SampledToken>> TokenSampler::Fetch(const std::vector<SampleRequest>& requests,
                                                      const GatherLogits& gather,
                                                      comm::Communicator& communicator) {
  const auto count = static_cast<int64_t>(requests.size());
  const TensorView token_ids = Reshape(space_.token_ids.view, {count});
  LONGHAND_ASSIGN_OR_RETURN(std::span<const int32_t> ids, CopyIds(count));
  LONGHAND_RETURN_IF_ERROR(Synchronize(communicator));
  // What the ranks told each other does not settle every token.
  if (std::ranges::count(ids, -1) > 0) {
    LONGHAND_ASSIGN_OR_RETURN(const TensorView all, gather());
    rows_.resize(requests.size());
    LONGHAND_RETURN_IF_ERROR(ops_.Sample({.logits = all.Slice(0, count),
                                          .rows = &rows_,
                                          .token_ids = token_ids,
                                          .history = history_}));
    // The other half may have the tokens of a step ahead that nobody has taken yet.
    LONGHAND_ASSIGN_OR_RETURN(ids, CopyIdsAgain(count));
    LONGHAND_RETURN_IF_ERROR(Synchronize(communicator));
  }
  std::vector<SampledToken> out(requests.size());
  for (size_t i = 0; i < out.size(); ++i) out[i].token_id = ids[i];
  int32_t num_top = -1;
  for (const SampleRequest& request : requests) {
    num_top = std::max(num_top, request.state->sampling.num_logprobs);
  }
  if (num_top < 0) return out;
  LONGHAND_ASSIGN_OR_RETURN(const TensorView all, gather());
  if (communicator.rank() != 0) return out;
  LONGHAND_RETURN_IF_ERROR(AddLogprobs(all.Slice(0, count), token_ids, num_top, &out));
  for (size_t i = 0; i < out.size(); ++i) {
    const int32_t wanted = requests[i].state->sampling.num_logprobs;
    if (wanted < 0) out[i].logprob = 0;
    out[i].top.resize(static_cast<size_t>(std::max(wanted, 0)));
  }
  return out;
}

void TokenSampler::CollectRows(const std::vector<SampleRequest>& requests) {
  rows_.clear();
  for (const SampleRequest& request : requests) {
    const SamplingParams& params = request.state->sampling;
    const int64_t position = request.chunk->output_position;
    const kernels::SampleRow row{
        .params = &params,
        .key = {.seed = params.seed,
                .choice = params.choice,
                .position = static_cast<uint32_t>(position)},
        .biases = request.state->biases.empty() ? nullptr : &request.state->biases,
        .suppressed_ids = &request.chunk->suppressed_token_ids,
        .allowed = request.chunk->allowed_tokens.empty() ? nullptr : &request.chunk->allowed_tokens,
        .history_row = request.state->history_row,
        .prompt_len = request.state->prompt_len,
        .output_len = static_cast<int32_t>(position)};
    rows_.push_back(row);
  }
}

Status TokenSampler::AddLogprobs(TensorView logits,
                                 TensorView token_ids,
                                 int64_t num_top,
                                 std::vector<SampledToken>* out) {
  const auto count = static_cast<int64_t>(out->size());
  kernels::LogprobsArgs args{
      .logits = logits, .token_ids = token_ids, .logprobs = Reshape(space_.logprobs.view, {count})};
  if (num_top > 0) {
    args.top_ids = Reshape(space_.top_ids.view, {count, num_top});
    args.top_logprobs = Reshape(space_.top_logprobs.view, {count, num_top});
  }
  LONGHAND_RETURN_IF_ERROR(ops_.Logprobs(args));
  std::vector<float> logprobs(out->size());
  std::vector<int32_t> top_ids(static_cast<size_t>(count * num_top));
  std::vector<float> top_logprobs(top_ids.size());
  const auto copy = [this](auto& to, const TensorView& from) {
    return to.empty() ? OkStatus() : ops_.CopyToHost(to.data(), from.data(), from.num_bytes());
  };
  LONGHAND_RETURN_IF_ERROR(copy(logprobs, args.logprobs));
  LONGHAND_RETURN_IF_ERROR(copy(top_ids, args.top_ids));
  LONGHAND_RETURN_IF_ERROR(copy(top_logprobs, args.top_logprobs));
  LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
  size_t at = 0;
  for (size_t i = 0; i < out->size(); ++i) {
    SampledToken& token = (*out)[i];
    token.logprob = logprobs[i];
    for (int64_t j = 0; j < num_top; ++j, ++at) {
      token.top.push_back({top_ids[at], top_logprobs[at]});
    }
  }
  return OkStatus();
}

Result<std::vector<SampledToken>> TokenSampler::Score(TensorView logits,
                                                      const std::vector<int32_t>& token_ids,
                                                      int64_t num_top) {
  std::vector<SampledToken> out;
  for (const int32_t id : token_ids) out.push_back({.token_id = id});
  const TensorView ids = Reshape(space_.token_ids.view, {std::ssize(out)});
  LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(ids.data(), token_ids.data(), ids.num_bytes()));
  LONGHAND_RETURN_IF_ERROR(AddLogprobs(logits, ids, num_top, &out));
  return out;
}

}  // namespace longhand::runner
