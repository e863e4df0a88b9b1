#include "worker/runner/model_runner.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/thread_checker.h"
#include "worker/model/decoder.h"
#include "worker/model/vision_encoder.h"
#include "worker/runner/block_mover.h"
#include "worker/runner/device_batch.h"
#include "worker/runner/image_store.h"
#include "worker/runner/plan_check.h"
#include "worker/runner/sequence_state.h"
#include "worker/runner/timed_communicator.h"
#include "worker/runner/token_sampler.h"

namespace longhand::runner {
namespace {

// Scoring a prompt needs logits of all its rows; fewer at once would be many collectives.
constexpr int64_t kMinLogitRows = 16;

int64_t MaxLogitRows(const RunnerConfig& config) {
  return std::max(config.max_num_seqs, kMinLogitRows);
}

PlanLimits LimitsOf(const RunnerConfig& config, int32_t tp_size) {
  return {.num_blocks = config.num_blocks,
          .num_host_blocks = config.num_host_blocks,
          .block_size = config.block_size,
          .max_num_batched_tokens = config.max_num_batched_tokens,
          .max_num_seqs = config.max_num_seqs,
          .max_model_len = config.max_model_len,
          .vocab_size = config.model.vocab_size,
          .encoder_cache_tokens = config.encoder_cache_tokens,
          .vision_depth = static_cast<int32_t>(config.model.vision.depth),
          .tp_size = tp_size};
}

model::DecoderSizes SizesOf(const RunnerConfig& config, const kernels::Ops& ops) {
  const DType activation = ops.ActivationDType(config.dtype);
  const bool rounds_rows = config.quantization == Quantization::kFp8;
  return {.max_tokens = config.max_num_batched_tokens,
          .max_logit_rows = MaxLogitRows(config),
          .num_blocks = config.num_blocks,
          .block_size = config.block_size,
          .activation = activation,
          .kv_dtype = config.kv_dtype,
          .rounded = rounds_rows ? ops.RoundedDType(activation) : activation};
}

kernels::StepSizes StepSizesOf(const RunnerConfig& config, const RankShard& shard) {
  kernels::StepSizes sizes{.max_num_seqs = config.max_num_seqs,
                           .max_model_len = config.max_model_len,
                           .block_size = config.block_size,
                           .num_heads = shard.heads.size(),
                           .num_kv_heads = shard.kv_heads.size(),
                           .head_dim = config.model.head_dim,
                           .vocab_size = config.model.vocab_size};
  if (config.dtype == DType::kBf16 && config.quantization == Quantization::kNone) {
    const int64_t query = sizes.num_heads * sizes.head_dim;
    sizes.max_gate_up_features = 2 * shard.ffn.size();
    sizes.max_weight_elements =
        config.model.hidden_size *
        std::max(query + 2 * sizes.num_kv_heads * sizes.head_dim, sizes.max_gate_up_features);
  }
  return sizes;
}

// A sum over the ranks, or what they say of the tokens that they sample.
size_t LargestExchangeBytes(const RunnerConfig& config, const kernels::Ops& ops) {
  const size_t sum =
      static_cast<size_t>(config.model.hidden_size) * DTypeSize(ops.ActivationDType(config.dtype));
  const size_t words = kernels::kShardWords * sizeof(int64_t);
  // Decode steps are padded, to less than twice as many sequences.
  return 2 * static_cast<size_t>(config.max_num_seqs) * std::max(sum, words);
}

Status CheckConfig(const RunnerConfig& config) {
  const struct {
    const char* name;
    int64_t value;
    int64_t min;
    int64_t max;
  } numbers[] = {
      {"num_blocks", config.num_blocks, 1, INT32_MAX},
      {"num_host_blocks", config.num_host_blocks, 0, INT32_MAX},
      {"block_size", config.block_size, 1, 256},
      {"max_num_batched_tokens", config.max_num_batched_tokens, 1, 1 << 20},
      {"max_num_seqs", config.max_num_seqs, 1, config.max_num_batched_tokens},
      {"max_model_len", config.max_model_len, 1, config.model.max_position_embeddings},
      {"encoder_cache_tokens", config.encoder_cache_tokens, 0, INT32_MAX},
      {"image_bytes", config.image_bytes, 0, INT64_MAX},
      {"max_patches_per_image", config.max_patches_per_image, 0, 1 << 24},
  };
  for (const auto& number : numbers) {
    if (number.value >= number.min && number.value <= number.max) continue;
    return InvalidArgument(number.name, " is ", number.value, "; it must be from ", number.min,
                           " to ", number.max);
  }
  if (config.dtype == DType::kF32 || config.dtype == DType::kBf16) return OkStatus();
  return InvalidArgument("the dtype is ", DTypeName(config.dtype),
                         "; it must be float32 or bfloat16");
}

Status CheckKvDType(DType kv, const kernels::Ops& ops) {
  if (ops.HasKvDType(kv)) return OkStatus();
  std::string has;
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kI8, DType::kF8E4M3}) {
    if (!ops.HasKvDType(dtype)) continue;
    if (!has.empty()) has += ", ";
    has += DTypeName(dtype);
  }
  return InvalidArgument("the KV cache's dtype is ", DTypeName(kv), "; backend ", ops.name(),
                         " has ", has);
}

Status CheckMemory(const model::MemoryBudget& memory, int64_t limit_bytes) {
  const int64_t short_bytes = memory.total_bytes() - limit_bytes;
  if (limit_bytes == 0 || short_bytes <= 0) return OkStatus();
  return ResourceExhausted(
      "this rank needs ", memory.total_bytes(), " bytes of memory and may take ", limit_bytes, ", ",
      short_bytes,
      " fewer; use more ranks, or lower --kv-cache-memory-bytes, --swap-space, "
      "--max-num-batched-tokens or --max-pixels:\n",
      model::ToTable(memory));
}

class ModelRunnerImpl final : public ModelRunner {
 public:
  ModelRunnerImpl(const RunnerConfig& config, kernels::Ops& ops, comm::Communicator& communicator)
      : config_(config),
        limits_(LimitsOf(config, communicator.size())),
        rank_(communicator.rank()),
        ops_(ops),
        communicator_(&communicator),
        replay_steps_(ops.CanRecord()),
        largest_exchange_bytes_(LargestExchangeBytes(config, ops)),
        images_(config.image_bytes),
        in_hand_(static_cast<size_t>(communicator.size())) {}

  Status Load(const ShardPlan& plan, const WeightLoad& load);

  Status PutImage(const ContentHash& hash,
                  int32_t height,
                  int32_t width,
                  std::span<const uint8_t> pixels) override;
  StepResult Execute(const StepPlan& plan) override;
  Status ResetForEpoch(int64_t epoch, comm::Communicator& communicator) override;
  void LeaveGroup() override { decode_steps_.clear(); }
  const model::MemoryBudget& memory() const override { return memory_; }
  void SetObserver(model::Observer observer) override;
  void ReplaySteps(bool replay) override { replay_steps_ = replay && ops_.CanRecord(); }
  TensorView LastLogits() const override { return last_logits_; }
  TensorView KvCache(int64_t layer_idx) const override { return decoder_->KvCache(layer_idx); }

 private:
  // Decode steps of one shape. The first runs as it is, and so loads the kernels; the second is
  // recorded, and from there on it is replayed.
  struct DecodeStep {
    bool has_run = false;
    std::unique_ptr<kernels::Recording> recording;
    kernels::VocabShard logits;
  };

  void Log(const std::string& line) const {
    if (config_.log) {
      config_.log(line);
    } else {
      std::fprintf(stderr, "%s\n", line.c_str());
    }
  }
  Status CheckNumber(const StepPlan& plan) const;
  Status Run(const StepPlan& plan,
             TimedCommunicator& communicator,
             std::vector<SequenceResult>* results);
  Status Finish(comm::Communicator& communicator);
  void Forget(const StepPlan& plan);
  Status EncodeImages(const StepPlan& plan, comm::Communicator& communicator);
  Status EncodeImage(const EncodeImageItem& item);
  TensorView CacheRows(const EncodeImageItem& item) const;
  // Whether the step is nothing but decode, on operations that can be recorded.
  bool CanReplay(const StepPlan& plan, const comm::Communicator& communicator) const;
  Status Decode(const StepPlan& plan,
                comm::Communicator& communicator,
                std::vector<SequenceResult>* results);
  // Forward, logits and sampling: operations and collectives alone.
  Status EnqueueDecode(const model::DecoderBatch& batch,
                       comm::Communicator& communicator,
                       kernels::VocabShard* logits);
  // Gathers once what `shard` is of, when it is called.
  TokenSampler::GatherLogits GatherOnce(const kernels::VocabShard& shard,
                                        comm::Communicator& communicator);
  void Record(const model::DecoderBatch& batch, comm::Communicator& communicator, DecodeStep* step);
  Status SampleChunks(const StepPlan& plan,
                      comm::Communicator& communicator,
                      std::vector<SequenceResult>* results);
  Status ScoreChunks(const StepPlan& plan,
                     comm::Communicator& communicator,
                     std::vector<SequenceResult>* results);

  const RunnerConfig config_;
  const PlanLimits limits_;
  const int32_t rank_;
  kernels::Ops& ops_;
  comm::Communicator* communicator_;
  const ThreadChecker executor_;

  model::ModelWeights weights_;
  std::unique_ptr<model::Decoder> decoder_;
  std::unique_ptr<model::VisionEncoder> encoder_;  // null: no images
  model::DeviceTensor encoder_cache_;              // [encoder_cache_tokens, hidden] A
  std::unique_ptr<BlockMover> block_mover_;
  std::unique_ptr<DeviceBatch> batch_;
  std::unique_ptr<TokenSampler> sampler_;
  std::map<DecodeShape, DecodeStep> decode_steps_;
  bool replay_steps_;
  bool can_record_ = true;               // as far as has been tried
  const size_t largest_exchange_bytes_;  // of a rank, in a decode step
  std::vector<SampleRequest> requests_;
  bool has_observer_ = false;
  TensorView last_logits_;
  model::MemoryBudget memory_;

  int64_t epoch_ = 0;
  std::optional<int64_t> last_step_;  // none yet in this epoch
  SequenceStates sequences_;
  ImageStore images_;
  std::vector<ImageInHand> in_hand_;  // [tp_size]
};

Status ModelRunnerImpl::Load(const ShardPlan& plan, const WeightLoad& load) {
  executor_.Check();
  LONGHAND_RETURN_IF_ERROR(CheckConfig(config_));
  LONGHAND_RETURN_IF_ERROR(CheckKvDType(config_.kv_dtype, ops_));
  const DType activation = ops_.ActivationDType(config_.dtype);
  if (const Status status = ops_.SetDeterministic(config_.deterministic); !status.ok()) {
    if (status.code() != StatusCode::kUnimplemented) return status;
    Log("every product is deterministic, as without --no-deterministic: " + status.message());
  }
  memory_ = PlanMemory(config_, plan, rank_, ops_);
  if (const int64_t bytes = communicator_->DeviceBytes(); bytes > 0) {
    memory_.Add("what ranks read of each other", bytes);
  }
  LONGHAND_RETURN_IF_ERROR(CheckMemory(memory_, config_.memory_bytes));
  LONGHAND_ASSIGN_OR_RETURN(weights_, load());
  LONGHAND_ASSIGN_OR_RETURN(decoder_, model::Decoder::Create(config_.model, plan, weights_,
                                                             SizesOf(config_, ops_), ops_));
  if (config_.encoder_cache_tokens > 0) {
    LONGHAND_ASSIGN_OR_RETURN(
        encoder_, model::VisionEncoder::Create(config_.model, weights_.vision, activation,
                                               config_.max_patches_per_image, ops_));
    LONGHAND_ASSIGN_OR_RETURN(encoder_cache_, model::AllocateTensor(ops_, activation,
                                                                    {config_.encoder_cache_tokens,
                                                                     config_.model.hidden_size}));
  }
  const kernels::StepSizes sizes = StepSizesOf(config_, weights_.shard);
  LONGHAND_RETURN_IF_ERROR(ops_.Reserve(sizes).WithContext("operations' workspaces"));
  if (const std::string choices = ops_.choices(); !choices.empty()) Log(choices);
  std::vector<BlockMover::Layer> layers;
  for (int64_t i = 0; i < config_.model.num_layers; ++i) {
    layers.push_back({decoder_->KvCache(i), decoder_->KvScales(i)});
  }
  LONGHAND_ASSIGN_OR_RETURN(block_mover_,
                            BlockMover::Create(std::move(layers), config_.num_host_blocks, ops_));
  LONGHAND_ASSIGN_OR_RETURN(batch_, DeviceBatch::Create(limits_, ops_));
  LONGHAND_ASSIGN_OR_RETURN(sampler_,
                            TokenSampler::Create(MaxLogitRows(config_), limits_.tp_size, ops_));
  return OkStatus();
}

Status ModelRunnerImpl::PutImage(const ContentHash& hash,
                                 int32_t height,
                                 int32_t width,
                                 std::span<const uint8_t> pixels) {
  if (encoder_ == nullptr) return FailedPrecondition("this worker has no room for images");
  LONGHAND_RETURN_IF_ERROR(encoder_->CheckSize(height, width));
  const int64_t bytes = int64_t{height} * width * 3;
  if (static_cast<int64_t>(pixels.size()) != bytes) {
    return InvalidArgument("an image of ", height, " x ", width, " pixels came with ",
                           pixels.size(), " bytes; it has ", bytes);
  }
  return images_.Put(hash, height, width, pixels);
}

Status ModelRunnerImpl::CheckNumber(const StepPlan& plan) const {
  if (plan.epoch != epoch_) {
    return FailedPrecondition("the plan is of epoch ", plan.epoch, "; this is epoch ", epoch_);
  }
  if (last_step_ && plan.step != *last_step_ + 1) {
    return FailedPrecondition("the plan is of step ", plan.step, "; the next one is ",
                              *last_step_ + 1);
  }
  return OkStatus();
}

StepResult ModelRunnerImpl::Execute(const StepPlan& plan) {
  executor_.Check();
  const auto begin = std::chrono::steady_clock::now();
  TimedCommunicator communicator(*communicator_);
  StepResult result{.epoch = plan.epoch, .step = plan.step, .rank = rank_};
  result.status = CheckNumber(plan);
  if (result.status.ok()) {
    result.status = CheckPlan(plan, {.limits = limits_,
                                     .sequences = sequences_,
                                     .images = images_,
                                     .in_hand = in_hand_,
                                     .encoder = encoder_.get()});
  }
  if (result.status.ok()) {
    last_step_ = plan.step;
    result.status = Run(plan, communicator, &result.sequences);
  }
  if (rank_ != 0 || !result.status.ok()) result.sequences.clear();
  result.communicate_us = communicator.elapsed_us();
  result.execute_us = std::chrono::duration_cast<std::chrono::microseconds>(
                          std::chrono::steady_clock::now() - begin)
                          .count();
  return result;
}

Status ModelRunnerImpl::Run(const StepPlan& plan,
                            TimedCommunicator& communicator,
                            std::vector<SequenceResult>* results) {
  last_logits_ = {};
  Forget(plan);
  LONGHAND_RETURN_IF_ERROR(block_mover_->Run(plan));
  LONGHAND_RETURN_IF_ERROR(EncodeImages(plan, communicator));
  if (plan.chunks.empty()) return Finish(communicator);
  for (const SequenceChunk& chunk : plan.chunks) {
    ApplyChunk(chunk, &sequences_);
    results->push_back({.sequence_id = chunk.sequence_id});
  }
  if (CanReplay(plan, communicator)) {
    LONGHAND_RETURN_IF_ERROR(Decode(plan, communicator, results));
    return Finish(communicator);
  }
  LONGHAND_ASSIGN_OR_RETURN(const model::DecoderBatch batch,
                            batch_->Build(plan, sequences_, encoder_cache_.view));
  LONGHAND_RETURN_IF_ERROR(decoder_->Forward(batch, communicator));
  LONGHAND_RETURN_IF_ERROR(SampleChunks(plan, communicator, results));
  LONGHAND_RETURN_IF_ERROR(ScoreChunks(plan, communicator, results));
  return Finish(communicator);
}

// The communicator's first: it gives up when a peer does not come, and says so when one failed.
Status ModelRunnerImpl::Finish(comm::Communicator& communicator) {
  LONGHAND_RETURN_IF_ERROR(communicator.Synchronize());
  return ops_.Synchronize();
}

void ModelRunnerImpl::Forget(const StepPlan& plan) {
  for (const int64_t id : plan.released_sequences) sequences_.erase(id);
  for (const ContentHash& hash : plan.released_images) {
    images_.Remove(hash);
    for (ImageInHand& hand : in_hand_) {
      if (hand.image == hash) hand = {};
    }
  }
}

// Every rank first encodes its own images, so that they run side by side; then the finished ones
// are passed round in the order of the plan.
Status ModelRunnerImpl::EncodeImages(const StepPlan& plan, comm::Communicator& communicator) {
  for (const EncodeImageItem& item : plan.images) {
    const bool finished = item.layer_end == limits_.vision_depth;
    in_hand_[static_cast<size_t>(item.rank)] = {item.image, finished ? 0 : item.layer_end};
    if (item.rank == rank_) LONGHAND_RETURN_IF_ERROR(EncodeImage(item));
  }
  for (const EncodeImageItem& item : plan.images) {
    if (item.layer_end != limits_.vision_depth) continue;
    LONGHAND_RETURN_IF_ERROR(communicator.Broadcast(CacheRows(item), item.rank));
  }
  return OkStatus();
}

Status ModelRunnerImpl::EncodeImage(const EncodeImageItem& item) {
  const ImageStore::Image* image = images_.Find(item.image);
  if (item.layer_begin == 0) {
    LONGHAND_RETURN_IF_ERROR(encoder_->Begin(image->pixels.data(), image->height, image->width));
  }
  LONGHAND_RETURN_IF_ERROR(encoder_->RunBlocks(item.layer_begin, item.layer_end));
  if (item.layer_end < limits_.vision_depth) return OkStatus();
  return encoder_->Finish(CacheRows(item));
}

TensorView ModelRunnerImpl::CacheRows(const EncodeImageItem& item) const {
  const ImageStore::Image* image = images_.Find(item.image);
  return encoder_cache_.view.Slice(item.cache_row,
                                   encoder_->NumTokens(image->height, image->width));
}

bool ModelRunnerImpl::CanReplay(const StepPlan& plan,
                                const comm::Communicator& communicator) const {
  if (!replay_steps_ || has_observer_ || !communicator.CanBeRecorded(largest_exchange_bytes_)) {
    return false;
  }
  return std::all_of(plan.chunks.begin(), plan.chunks.end(), [](const SequenceChunk& chunk) {
    return chunk.token_ids.size() == 1 && chunk.sample && chunk.image_spans.empty() &&
           chunk.score_token_ids.empty();
  });
}

Status ModelRunnerImpl::Decode(const StepPlan& plan,
                               comm::Communicator& communicator,
                               std::vector<SequenceResult>* results) {
  requests_.clear();
  for (const SequenceChunk& chunk : plan.chunks) {
    requests_.push_back({&chunk, &sequences_.at(chunk.sequence_id)});
  }
  const DecodeShape shape = batch_->ShapeOf(plan);
  LONGHAND_ASSIGN_OR_RETURN(const model::DecoderBatch batch,
                            batch_->BuildDecode(plan, sequences_, shape));
  LONGHAND_RETURN_IF_ERROR(sampler_->Stage(requests_, shape.num_seqs, config_.model.vocab_size));
  DecodeStep& step = decode_steps_[shape];
  if (step.has_run && step.recording == nullptr) Record(batch, communicator, &step);
  if (step.recording != nullptr) {
    LONGHAND_RETURN_IF_ERROR(ops_.Replay(*step.recording));
  } else {
    LONGHAND_RETURN_IF_ERROR(EnqueueDecode(batch, communicator, &step.logits));
  }
  step.has_run = true;
  last_logits_ = step.logits.logits.Slice(0, static_cast<int64_t>(requests_.size()));
  LONGHAND_ASSIGN_OR_RETURN(
      std::vector<SampledToken> tokens,
      sampler_->Fetch(requests_, GatherOnce(step.logits, communicator), communicator));
  for (size_t i = 0; i < tokens.size(); ++i) {
    RecordSampledToken(tokens[i].token_id, &sequences_.at((*results)[i].sequence_id));
    (*results)[i].tokens.push_back(std::move(tokens[i]));
  }
  return OkStatus();
}

Status ModelRunnerImpl::EnqueueDecode(const model::DecoderBatch& batch,
                                      comm::Communicator& communicator,
                                      kernels::VocabShard* logits) {
  LONGHAND_RETURN_IF_ERROR(decoder_->Forward(batch, communicator));
  LONGHAND_ASSIGN_OR_RETURN(*logits, decoder_->LogitsOfAll());
  return sampler_->DrawStaged(*logits, communicator);
}

TokenSampler::GatherLogits ModelRunnerImpl::GatherOnce(const kernels::VocabShard& shard,
                                                       comm::Communicator& communicator) {
  return [this, shard, &communicator, all = TensorView()]() mutable -> Result<TensorView> {
    if (all.empty()) {
      LONGHAND_ASSIGN_OR_RETURN(all, decoder_->GatherLogits(shard, communicator));
    }
    return all;
  };
}

// A step that cannot be recorded runs as it is, and so do all from there on.
void ModelRunnerImpl::Record(const model::DecoderBatch& batch,
                             comm::Communicator& communicator,
                             DecodeStep* step) {
  if (!can_record_) return;
  auto recording = ops_.Record([&] { return EnqueueDecode(batch, communicator, &step->logits); });
  if (recording.ok()) {
    step->recording = std::move(recording).value();
    return;
  }
  can_record_ = false;
  Log("decode steps run without graphs: recording failed: " + recording.status().message());
}

Status ModelRunnerImpl::SampleChunks(const StepPlan& plan,
                                     comm::Communicator& communicator,
                                     std::vector<SequenceResult>* results) {
  std::vector<int32_t> rows;
  std::vector<SampleRequest> requests;
  std::vector<size_t> chunk_idx;
  int32_t end = 0;
  for (size_t i = 0; i < plan.chunks.size(); ++i) {
    const SequenceChunk& chunk = plan.chunks[i];
    end += static_cast<int32_t>(chunk.token_ids.size());
    if (!chunk.sample) continue;
    rows.push_back(end - 1);
    requests.push_back({&chunk, &sequences_.at(chunk.sequence_id)});
    chunk_idx.push_back(i);
  }
  if (rows.empty()) return OkStatus();
  // At most max_num_seqs rows: one call.
  LONGHAND_ASSIGN_OR_RETURN(const kernels::VocabShard logits, decoder_->Logits(rows));
  last_logits_ = logits.logits;
  const TokenSampler::GatherLogits gather = GatherOnce(logits, communicator);
  if (has_observer_) LONGHAND_RETURN_IF_ERROR(gather().status());
  LONGHAND_ASSIGN_OR_RETURN(std::vector<SampledToken> tokens,
                            sampler_->Sample(logits, requests, gather, communicator));
  for (size_t i = 0; i < tokens.size(); ++i) {
    SequenceResult& result = (*results)[chunk_idx[i]];
    RecordSampledToken(tokens[i].token_id, &sequences_.at(result.sequence_id));
    result.tokens.push_back(std::move(tokens[i]));
  }
  return OkStatus();
}

Status ModelRunnerImpl::ScoreChunks(const StepPlan& plan,
                                    comm::Communicator& communicator,
                                    std::vector<SequenceResult>* results) {
  const auto max_rows = static_cast<size_t>(MaxLogitRows(config_));
  int32_t first = 0;
  for (size_t i = 0; i < plan.chunks.size(); ++i) {
    const SequenceChunk& chunk = plan.chunks[i];
    std::vector<float>& scores = (*results)[i].score_logprobs;
    if (!chunk.score_token_ids.empty()) scores.assign(chunk.token_ids.size(), 0.0f);
    std::vector<int32_t> offsets;  // of the wanted tokens within the chunk
    for (size_t j = 0; j < chunk.score_token_ids.size(); ++j) {
      if (chunk.score_token_ids[j] >= 0) offsets.push_back(static_cast<int32_t>(j));
    }
    for (size_t begin = 0; begin < offsets.size(); begin += max_rows) {
      std::vector<int32_t> rows;
      std::vector<int32_t> token_ids;
      for (size_t j = begin; j < std::min(begin + max_rows, offsets.size()); ++j) {
        rows.push_back(first + offsets[j]);
        token_ids.push_back(chunk.score_token_ids[static_cast<size_t>(offsets[j])]);
      }
      LONGHAND_ASSIGN_OR_RETURN(const kernels::VocabShard shard, decoder_->Logits(rows));
      LONGHAND_ASSIGN_OR_RETURN(const TensorView logits,
                                decoder_->GatherLogits(shard, communicator));
      if (rank_ != 0) continue;
      LONGHAND_ASSIGN_OR_RETURN(const std::vector<float> logprobs,
                                sampler_->Score(logits, token_ids));
      for (size_t j = 0; j < logprobs.size(); ++j) {
        scores[static_cast<size_t>(offsets[begin + j])] = logprobs[j];
      }
    }
    first += static_cast<int32_t>(chunk.token_ids.size());
  }
  return OkStatus();
}

Status ModelRunnerImpl::ResetForEpoch(int64_t epoch, comm::Communicator& communicator) {
  executor_.Check();
  if (communicator.rank() != rank_ || communicator.size() != limits_.tp_size) {
    return FailedPrecondition("the weights are of rank ", rank_, " of ", limits_.tp_size,
                              "; the new group makes this rank ", communicator.rank(), " of ",
                              communicator.size());
  }
  communicator_ = &communicator;
  LeaveGroup();
  epoch_ = epoch;
  last_step_.reset();
  sequences_.clear();
  images_.Clear();
  std::fill(in_hand_.begin(), in_hand_.end(), ImageInHand{});
  return OkStatus();
}

void ModelRunnerImpl::SetObserver(model::Observer observer) {
  has_observer_ = static_cast<bool>(observer);
  decoder_->SetObserver(observer);
  if (encoder_ != nullptr) encoder_->SetObserver(std::move(observer));
}

}  // namespace

model::MemoryBudget PlanMemory(const RunnerConfig& config,
                               const ShardPlan& plan,
                               int32_t rank,
                               const kernels::Ops& ops) {
  const DType activation = ops.ActivationDType(config.dtype);
  const RankShard& shard = plan.ranks[static_cast<size_t>(rank)];
  const PlanLimits limits = LimitsOf(config, plan.tp_size);
  model::MemoryBudget budget;
  budget.Add("language model weights", shard.text_weight_bytes);
  budget.Add("image encoder weights", shard.vision_weight_bytes);
  budget.Add("KV cache", config.num_blocks * config.block_size * shard.kv_bytes_per_token);
  if (config.num_host_blocks > 0) {
    budget.Add("KV blocks in host memory",
               config.num_host_blocks * config.block_size * shard.kv_bytes_per_token,
               /*is_elsewhere=*/ops.name() == "cuda");
  }
  budget.Add("decoder workspace",
             model::Decoder::WorkspaceBytes(config.model, plan, shard, SizesOf(config, ops)));
  budget.Add("batch and sampling",
             DeviceBatch::WorkspaceBytes(limits) + BlockMover::WorkspaceBytes(limits) +
                 TokenSampler::WorkspaceBytes(MaxLogitRows(config), plan.tp_size));
  const int64_t reserved = ops.ReservedBytes(StepSizesOf(config, shard));
  if (reserved > 0) budget.Add("operations' workspaces", reserved);
  if (config.encoder_cache_tokens > 0) {
    budget.Add("image encoder workspace",
               model::VisionEncoder::WorkspaceBytes(config.model.vision, activation,
                                                    config.max_patches_per_image));
    budget.Add("image embeddings", config.encoder_cache_tokens * config.model.hidden_size *
                                       static_cast<int64_t>(DTypeSize(activation)));
    budget.Add("resized images, at most", config.image_bytes);
  }
  return budget;
}

Result<std::unique_ptr<ModelRunner>> ModelRunner::CreateWith(const RunnerConfig& config,
                                                             const ShardPlan& plan,
                                                             const WeightLoad& load,
                                                             kernels::Ops& ops,
                                                             comm::Communicator& communicator) {
  auto runner = std::make_unique<ModelRunnerImpl>(config, ops, communicator);
  LONGHAND_RETURN_IF_ERROR(runner->Load(plan, load));
  return Result<std::unique_ptr<ModelRunner>>(std::move(runner));
}

}  // namespace longhand::runner
