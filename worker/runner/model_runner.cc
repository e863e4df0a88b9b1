#include "worker/runner/model_runner.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/thread_checker.h"
#include "worker/model/adapters.h"
#include "worker/model/decoder.h"
#include "worker/runner/block_mover.h"
#include "worker/runner/decode_replay.h"
#include "worker/runner/device_batch.h"
#include "worker/runner/image_encoding.h"
#include "worker/runner/memory_plan.h"
#include "worker/runner/plan_check.h"
#include "worker/runner/runner_sizes.h"
#include "worker/runner/score_chunks.h"
#include "worker/runner/sequence_state.h"
#include "worker/runner/steps_in_flight.h"
#include "worker/runner/timed_communicator.h"
#include "worker/runner/token_history.h"
#include "worker/runner/token_sampler.h"

namespace longhand::runner {
namespace {

// Whether the plan is of chunks and releases alone, and leaves nothing to be copied from it.
bool IsPlain(const StepPlan& plan) {
  return plan.released_images.empty() && plan.swaps_out.empty() && plan.swaps_in.empty() &&
         plan.block_copies.empty() && plan.images.empty() && !plan.chunks.empty() &&
         std::ranges::all_of(plan.chunks,
                             [](const SequenceChunk& chunk) { return chunk.start.empty(); });
}

class ModelRunnerImpl final : public ModelRunner {
 public:
  ModelRunnerImpl(const RunnerConfig& config, kernels::Ops& ops, comm::Communicator& communicator)
      : config_(config),
        limits_(LimitsOf(config, communicator.size())),
        rank_(communicator.rank()),
        ops_(ops),
        communicator_(&communicator),
        replay_(ops, LargestExchangeBytes(config, ops), [this](const std::string& line) {
          Log(line);
        }) {}

  Status Load(const ShardPlan& plan, const WeightLoad& load);

  Status PutImage(const ContentHash& hash,
                  int32_t height,
                  int32_t width,
                  std::span<const uint8_t> pixels) override {
    return images_->Put(hash, height, width, pixels);
  }
  Status LoadAdapter(int64_t slot,
                     const std::string& identity,
                     const std::filesystem::path& directory) override;
  ~ModelRunnerImpl() override;

  bool MayBegin(const StepPlan& plan) const override;
  void Begin(const StepPlan& plan) override;
  bool HasEnded() override;
  StepResult End() override;
  Status ResetForEpoch(int64_t epoch, comm::Communicator& communicator) override;
  void LeaveGroup() override { replay_.Forget(); }
  const model::MemoryBudget& memory() const override { return memory_; }
  void SetObserver(model::Observer observer) override;
  void ReplaySteps(bool replay) override { replay_.Allow(replay); }
  TensorView LastLogits() const override { return last_logits_; }
  TensorView KvCache(int64_t layer_idx) const override { return decoder_->KvCache(layer_idx); }

 private:
  void Log(const std::string& line) const {
    if (config_.log) {
      config_.log(line);
    } else {
      std::fprintf(stderr, "%s\n", line.c_str());
    }
  }
  Status CheckNumber(const StepPlan& plan) const;
  Status Check(const StepPlan& plan) const;
  // May leave the step to the device.
  Status Run(const StepPlan& plan, TimedCommunicator& communicator, StepsInFlight::Step* step);
  Status Finish(comm::Communicator& communicator);
  void Forget(const StepPlan& plan);
  // Takes a chunk into its sequence.
  Status Take(const SequenceChunk& chunk);
  Status Decode(const StepPlan& plan, comm::Communicator& communicator, StepsInFlight::Step* step);
  // Whether nothing but the step's tokens is wanted of it.
  bool LeavesTokens(const StepPlan& plan) const;
  // Forward, logits and sampling: operations and collectives alone.
  Status EnqueueDecode(const model::DecoderBatch& batch,
                       comm::Communicator& communicator,
                       kernels::VocabShard* logits);
  // Gathers once what `shard` is of, when it is called.
  TokenSampler::GatherLogits GatherOnce(const kernels::VocabShard& shard,
                                        comm::Communicator& communicator);
  Status SampleChunks(const StepPlan& plan,
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
  std::unique_ptr<model::Adapters> adapters_;  // null: there is room for none
  std::unique_ptr<ImageEncoding> images_;
  std::unique_ptr<BlockMover> block_mover_;
  std::unique_ptr<TokenHistory> history_;
  std::unique_ptr<DeviceBatch> batch_;
  std::unique_ptr<TokenSampler> sampler_;
  DecodeReplay replay_;
  std::vector<SampleRequest> requests_;
  bool has_observer_ = false;
  TensorView last_logits_;
  model::MemoryBudget memory_;

  int64_t epoch_ = 0;
  std::optional<int64_t> last_step_;  // none yet in this epoch
  SequenceStates sequences_;

  std::unique_ptr<StepsInFlight> steps_;
};

// What steps that have not ended read and write must outlive them. Without recordings: those of
// collectives keep NCCL from ending them.
ModelRunnerImpl::~ModelRunnerImpl() {
  replay_.Forget();
  (void)ops_.Synchronize();
}

Status ModelRunnerImpl::Load(const ShardPlan& plan, const WeightLoad& load) {
  executor_.Check();
  LONGHAND_RETURN_IF_ERROR(CheckConfig(config_, ops_));
  if (const Status status = ops_.SetDeterministic(config_.deterministic); !status.ok()) {
    if (status.code() != StatusCode::kUnimplemented) return status;
    Log("every product is deterministic, as without --no-deterministic: " + status.message());
  }
  const model::PackedWeights packed =
      model::PlanPackedWeights(config_.model, plan, rank_, config_.quantization, ops_);
  const kernels::StepSizes sizes =
      StepSizesOf(config_, plan.ranks[static_cast<size_t>(rank_)], packed);
  memory_ = PlanMemory(config_, plan, rank_, packed, sizes, ops_);
  memory_.Add("exchange between ranks", communicator_->DeviceBytes());
  LONGHAND_RETURN_IF_ERROR(CheckMemory(memory_, config_.memory_bytes));
  LONGHAND_ASSIGN_OR_RETURN(weights_, load());
  // First: what it only tries out then takes no more than there will be.
  LONGHAND_RETURN_IF_ERROR(ops_.Reserve(sizes).WithContext("operations' workspaces"));
  if (const std::string found = ops_.TrialResults(); !found.empty()) Log(found);
  LONGHAND_ASSIGN_OR_RETURN(
      decoder_, model::Decoder::Create(config_.model, plan, weights_, SizesOf(config_, ops_), ops_,
                                       config_.on_piece));
  LONGHAND_ASSIGN_OR_RETURN(
      images_, ImageEncoding::Create(config_, weights_.vision, rank_, limits_.tp_size, ops_));
  if (config_.max_loras > 0) {
    LONGHAND_ASSIGN_OR_RETURN(adapters_,
                              model::Adapters::Create(config_.model, weights_.shard,
                                                      AdapterSizesOf(config_, ops_), ops_));
    decoder_->SetAdapters(adapters_.get());
    images_->SetAdapters(adapters_.get());
  }
  std::vector<BlockMover::Layer> layers;
  for (int64_t i = 0; i < config_.model.num_layers; ++i) {
    layers.push_back({decoder_->KvCache(i), decoder_->KvScales(i)});
  }
  LONGHAND_ASSIGN_OR_RETURN(
      block_mover_,
      BlockMover::Create(std::move(layers), config_.num_host_blocks, ops_, config_.on_piece));
  LONGHAND_ASSIGN_OR_RETURN(history_, TokenHistory::Create(limits_, ops_));
  LONGHAND_ASSIGN_OR_RETURN(batch_, DeviceBatch::Create(limits_, *history_, ops_));
  LONGHAND_ASSIGN_OR_RETURN(sampler_, TokenSampler::Create(MaxLogitRows(config_), limits_.tp_size,
                                                           history_->tokens(), ops_));
  LONGHAND_ASSIGN_OR_RETURN(steps_, StepsInFlight::Create(ops_));
  return OkStatus();
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

Status ModelRunnerImpl::Check(const StepPlan& plan) const {
  LONGHAND_RETURN_IF_ERROR(CheckNumber(plan));
  return CheckPlan(plan, {.limits = limits_,
                          .sequences = sequences_,
                          .images = images_->images(),
                          .in_hand = images_->in_hand(),
                          .encoder = images_->encoder(),
                          .adapters = adapters_.get()});
}

Status ModelRunnerImpl::LoadAdapter(int64_t slot,
                                    const std::string& identity,
                                    const std::filesystem::path& directory) {
  executor_.Check();
  if (adapters_ == nullptr) {
    return FailedPrecondition("this worker has no room for adapters (--max-loras)");
  }
  return adapters_->Load(slot, identity, directory);
}

bool ModelRunnerImpl::MayBegin(const StepPlan& plan) const {
  if (steps_->empty()) return true;
  return steps_->HasRoomBehind() && !has_observer_ && IsPlain(plan) &&
         replay_.Takes(plan, *communicator_);
}

void ModelRunnerImpl::Begin(const StepPlan& plan) {
  executor_.Check();
  LONGHAND_CHECK(MayBegin(plan)) << "step " << plan.step;
  StepsInFlight::Step& step = steps_->Begin(plan, rank_);
  step.result.status = Check(plan);
  if (step.result.status.ok()) {
    last_step_ = plan.step;
    TimedCommunicator communicator(*communicator_);
    step.result.status = Run(plan, communicator, &step);
    step.result.communicate_us = communicator.elapsed_us();
  }
  steps_->EndBegin(&step);
}

bool ModelRunnerImpl::HasEnded() {
  executor_.Check();
  return steps_->HasEnded(*communicator_);
}

StepResult ModelRunnerImpl::End() {
  while (!HasEnded()) std::this_thread::yield();
  return steps_->Take();
}

Status ModelRunnerImpl::Run(const StepPlan& plan,
                            TimedCommunicator& communicator,
                            StepsInFlight::Step* step) {
  std::vector<SequenceResult>* results = &step->result.sequences;
  last_logits_ = {};
  Forget(plan);
  LONGHAND_RETURN_IF_ERROR(block_mover_->Run(plan));
  LONGHAND_RETURN_IF_ERROR(images_->Encode(plan, communicator));
  if (plan.chunks.empty()) return Finish(communicator);
  for (const SequenceChunk& chunk : plan.chunks) {
    LONGHAND_RETURN_IF_ERROR(Take(chunk));
    results->push_back({.sequence_id = chunk.sequence_id});
  }
  if (!has_observer_ && replay_.Takes(plan, communicator)) {
    LONGHAND_RETURN_IF_ERROR(Decode(plan, communicator, step));
    return step->end != nullptr ? OkStatus() : Finish(communicator);
  }
  LONGHAND_ASSIGN_OR_RETURN(const model::DecoderBatch batch,
                            batch_->Build(plan, sequences_, images_->embeddings()));
  LONGHAND_RETURN_IF_ERROR(decoder_->Forward(batch, communicator));
  LONGHAND_RETURN_IF_ERROR(SampleChunks(plan, communicator, results));
  LONGHAND_RETURN_IF_ERROR(
      ScoreChunks(plan, MaxLogitRows(config_), *decoder_, *sampler_, communicator, results));
  return Finish(communicator);
}

// The communicator's first: it gives up when a peer does not come, and says so when one failed.
Status ModelRunnerImpl::Finish(comm::Communicator& communicator) {
  LONGHAND_RETURN_IF_ERROR(communicator.Synchronize());
  return ops_.Synchronize();
}

Status ModelRunnerImpl::Take(const SequenceChunk& chunk) {
  SequenceState& state = ApplyChunk(chunk, &sequences_);
  if (state.history_row < 0) state.history_row = history_->TakeRow();
  if (chunk.start.empty()) return OkStatus();
  const SequenceStart& start = chunk.start.front();
  return history_->Fill(state.history_row, start.prompt_token_ids, start.output_token_ids);
}

void ModelRunnerImpl::Forget(const StepPlan& plan) {
  for (const int64_t id : plan.released_sequences) {
    const auto it = sequences_.find(id);
    if (it == sequences_.end()) continue;
    history_->FreeRow(it->second.history_row);
    sequences_.erase(it);
  }
  images_->Forget(plan.released_images);
}

Status ModelRunnerImpl::Decode(const StepPlan& plan,
                               comm::Communicator& communicator,
                               StepsInFlight::Step* step) {
  requests_.clear();
  for (const SequenceChunk& chunk : plan.chunks) {
    requests_.push_back({&chunk, &sequences_.at(chunk.sequence_id)});
  }
  const DecodeShape shape = batch_->ShapeOf(plan, sequences_);
  LONGHAND_ASSIGN_OR_RETURN(const model::DecoderBatch batch,
                            batch_->BuildDecode(plan, sequences_, shape));
  LONGHAND_RETURN_IF_ERROR(sampler_->Stage(requests_, shape.num_seqs, config_.model.vocab_size));
  LONGHAND_ASSIGN_OR_RETURN(const kernels::VocabShard logits,
                            replay_.Run(shape, [&](kernels::VocabShard* out) {
                              return EnqueueDecode(batch, communicator, out);
                            }));
  last_logits_ = logits.logits.Slice(0, static_cast<int64_t>(requests_.size()));
  for (const SequenceChunk& chunk : plan.chunks) {
    NoteSampled(chunk, &sequences_.at(chunk.sequence_id));
  }
  if (LeavesTokens(plan)) {
    LONGHAND_ASSIGN_OR_RETURN(const std::span<const int32_t> token_ids,
                              sampler_->CopyIds(std::ssize(requests_)));
    return steps_->Leave(token_ids, step);
  }
  LONGHAND_ASSIGN_OR_RETURN(
      std::vector<SampledToken> tokens,
      sampler_->Fetch(requests_, GatherOnce(logits, communicator), communicator));
  for (size_t i = 0; i < tokens.size(); ++i) {
    step->result.sequences[i].tokens.push_back(std::move(tokens[i]));
  }
  return OkStatus();
}

bool ModelRunnerImpl::LeavesTokens(const StepPlan& plan) const {
  return ops_.RunsApart() && IsPlain(plan) &&
         std::ranges::all_of(requests_, [this](const SampleRequest& request) {
           return sampler_->DrawSettles(request.state->sampling);
         });
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
    const SequenceChunk& chunk = plan.chunks[chunk_idx[i]];
    NoteSampled(chunk, &sequences_.at(chunk.sequence_id));
    (*results)[chunk_idx[i]].tokens.push_back(std::move(tokens[i]));
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
  // What the device still works on was of the group before.
  steps_->Clear();
  LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
  epoch_ = epoch;
  last_step_.reset();
  sequences_.clear();
  history_->FreeAll();
  images_->ForgetAll();
  return OkStatus();
}

void ModelRunnerImpl::SetObserver(model::Observer observer) {
  has_observer_ = static_cast<bool>(observer);
  decoder_->SetObserver(observer);
  images_->SetObserver(std::move(observer));
}

}  // namespace

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
