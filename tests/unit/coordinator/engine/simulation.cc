#include "tests/unit/coordinator/engine/simulation.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "tests/unit/coordinator/engine/fake_constraint.h"
#include "tests/unit/coordinator/engine/request_maker.h"

namespace longhand::engine {

Simulation::Simulation(uint64_t seed, int32_t pipeline_depth) : random_(seed) {
  submit_chance_ = 0.02 + 0.02 * static_cast<double>(Random(16));
  cancel_chance_ = 0.005 * static_cast<double>(Random(8));
  break_chance_ = 0.001 * static_cast<double>(Random(8));
  restart_chance_ = 0.001 * static_cast<double>(Random(8));
  max_deliveries_ = 1 + Random(40);
  config_.max_num_seqs = 1 + static_cast<int64_t>(Random(24));
  config_.max_num_batched_tokens = config_.max_num_seqs + static_cast<int64_t>(Random(40));
  config_.max_model_len = 100;
  config_.max_num_prefill_tokens = 1 + static_cast<int64_t>(Random(40));
  config_.max_waiting_seqs = 16;
  config_.max_waiting_seqs_per_tenant = 8 + static_cast<int64_t>(Random(9));
  config_.length_quantile = 0.1 + 0.1 * static_cast<double>(Random(8));
  config_.tenant_weights = {{"b", 3}};
  config_.priority_step = std::chrono::milliseconds(5);
  if (Chance(0.3)) config_.max_queue_time = std::chrono::milliseconds(100 + Random(400));
  config_.max_encode_patch_layers = 1 + static_cast<int64_t>(Random(200));
  config_.enable_prefix_caching = Chance(0.7);
  config_.pipeline_depth = pipeline_depth;
  config_.eos_token_ids = {kFakeEos, 2};
  shape_.num_ranks = 1 + static_cast<int32_t>(Random(4));
  shape_.num_encoder_layers = 1 + static_cast<int32_t>(Random(5));
  shape_.block_size = 1 << Random(4);
  shape_.num_blocks = (100 + static_cast<int64_t>(Random(150))) / shape_.block_size + 1;
  shape_.encoder_cache_tokens = 30 + static_cast<int64_t>(Random(60));
  if (Chance(0.8))
    shape_.num_host_blocks = static_cast<int64_t>(Random(static_cast<uint64_t>(shape_.num_blocks)));
  MakeEngine();
  FormGroup();
}

void Simulation::MakeEngine() {
  const EngineParts parts{static_cast<StepExecutor&>(*this), text_, clock_, NoMetrics(),
                          static_cast<DeliveryGate&>(*this)};
  engine_ = std::make_unique<Engine>(config_, parts);
}

void Simulation::Run(int64_t num_turns) {
  // The longest request takes a few hundred turns alone; the queue and the admitted ones multiply
  // it.
  const int64_t max_quiet_turns = 100'000;
  int64_t quiet_turns = 0;
  for (int64_t turn = 0; turn < num_turns || (!open_.empty() && quiet_turns < max_quiet_turns);
       ++turn) {
    if (turn < num_turns) {
      Traffic();
    } else {
      ++quiet_turns;
    }
    AdvanceWorkers();
    AdvanceDeliveries();
    clock_.Advance(std::chrono::milliseconds(Random(3)));
    engine_->Turn(Duration::zero());
    engine_->CheckInvariants();
    num_preemptions_ = num_preemptions_before_ + engine_->Stats().num_preemptions;
    num_swaps_ = num_swaps_before_ + engine_->Stats().num_swapped_in_blocks;
    CheckEnded();
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_TRUE(open_.empty()) << open_.size() << " requests starve, such as "
                             << open_.begin()->first;
  CheckNothingLeft();
}

void Simulation::Traffic() {
  if (Chance(submit_chance_)) SubmitRandom();
  if (Chance(cancel_chance_)) CancelRandom();
  if (Chance(break_chance_) && workers_ != nullptr) BreakGroup();
  if (Chance(restart_chance_)) Restart();
}

// The coordinator dies: what clients have not seen is forgotten, and an engine that knows nothing
// is given what they have.
void Simulation::Restart() {
  ++num_restarts_;
  num_preemptions_before_ = num_preemptions_;
  num_swaps_before_ = num_swaps_;
  if (workers_ != nullptr) BreakGroup();
  engine_.reset();
  deliveries_.clear();
  MakeEngine();
  std::map<int64_t, Submitted*> by_number;
  for (auto it = open_.begin(); it != open_.end();) {
    if (!it->second.recording->accepted) {
      it = open_.erase(it);
      continue;
    }
    by_number.emplace(it->second.number, &it->second);
    ++it;
  }
  for (const auto& [number, submitted] : by_number) {
    submitted->recording->destroyed = false;
    ASSERT_TRUE(engine_
                    ->Restore(std::make_shared<const Request>(submitted->request),
                              DeliveredOf(submitted->request, *submitted->recording),
                              std::make_unique<DelayedSink>(submitted->recording, deliveries_))
                    .ok());
  }
}

void Simulation::AdvanceDeliveries() {
  for (uint64_t num = Random(8); num > 0 && !deliveries_.empty(); --num) {
    deliveries_.front()();
    deliveries_.pop_front();
  }
}

Request Simulation::RandomRequest() {
  const std::string id = "request-" + std::to_string(num_submitted_++);
  // Most answers are short, so that the long ones outgrow what is expected of them.
  const uint64_t num_tokens = 1 + Random(Chance(0.5) ? 60 : 8);
  const uint64_t max_tokens = Chance(0.05) ? 0 : 1 + Random(Chance(0.85) ? 4 : 60);
  // Of few prompts, of which some are beginnings of others.
  Request request = MakeRequest(id, static_cast<int64_t>(num_tokens),
                                static_cast<int64_t>(max_tokens), Random(4));
  request.sampling.seed = Random(1 << 30);
  if (Chance(0.1)) request.cache_salt = "salt";
  request.num_choices = Chance(0.1) ? 3 : 1;
  request.tenant = std::string(1, static_cast<char>('a' + Random(3)));
  request.priority = static_cast<int32_t>(Random(5)) - 2;
  request.ignore_eos = Chance(0.3);
  request.prompt_logprobs = Chance(0.1);
  if (request.prompt_logprobs) request.num_top_prompt_logprobs = static_cast<int32_t>(Random(3));
  request.sampling.num_logprobs = Chance(0.1) ? 0 : -1;
  request.min_tokens = Chance(0.2) ? request.max_tokens / 2 : 0;
  if (Chance(0.2) && max_tokens > 0) request.target_words = 1 + static_cast<int64_t>(Random(40));
  if (request.target_words == 0 && Chance(0.3)) {
    request.constraint = std::make_shared<const FakeConstraintFactory>(Random(5));
  }
  request.repetition_guard = Chance(0.2);
  if (Chance(0.3)) request.stop_token_ids = {5, 9};
  if (Chance(0.3)) request.stop_strings = {"ab", "qrs", "z"};
  if (Chance(0.1)) request.sampling.repetition_penalty = 1.1f;
  if (Chance(0.3)) request.biases = {{static_cast<int32_t>(Random(kFakeVocabSize)), -2.5f}};
  if (Chance(0.05)) request.deadline = clock_.Now() + std::chrono::milliseconds(Random(200));
  int32_t offset = static_cast<int32_t>(Random(8));
  while (Chance(0.5)) {
    // Few pictures, so that they meet again; a picture's size goes with its number.
    const auto picture = static_cast<uint8_t>(Random(6));
    const int32_t num_tokens = 1 + picture * 6;
    if (offset + num_tokens > request.num_prompt_tokens()) break;
    AddImage(request, offset, num_tokens, picture);
    offset += num_tokens + static_cast<int32_t>(Random(3));
  }
  return request;
}

void Simulation::SubmitRandom() {
  Request request = RandomRequest();
  auto recording = std::make_shared<Recording>();
  ASSERT_TRUE(engine_
                  ->Submit(std::make_shared<const Request>(request),
                           std::make_unique<DelayedSink>(recording, deliveries_))
                  .ok());
  const std::string id = request.request_id;
  open_.emplace(id, Submitted{num_submitted_, std::move(request), std::move(recording)});
}

void Simulation::CancelRandom() {
  if (open_.empty()) return;
  const auto chosen = std::next(open_.begin(), static_cast<int64_t>(Random(open_.size())));
  chosen->second.cancelled = true;
  ASSERT_TRUE(engine_->Cancel(chosen->first, nullptr).ok());
}

void Simulation::AdvanceWorkers() {
  if (stale_.has_value() && Chance(0.5)) {
    engine_->OnStepResult(std::move(*std::exchange(stale_, std::nullopt)));
  }
  if (workers_ == nullptr) {
    if (Chance(0.1)) FormGroup();
    return;
  }
  if (!images_.empty() && Chance(0.3)) {
    const PendingImage sent = std::move(images_.front());
    images_.pop_front();
    workers_->PutImage(sent.image);
    engine_->OnImageReady(sent.epoch, sent.image.hash);
  }
  if (!plans_.empty() && Chance(0.8)) {
    StepResult result = workers_->Run(plans_.front());
    plans_.pop_front();
    ++num_steps_;
    engine_->OnStepResult(std::move(result));
  }
}

void Simulation::FormGroup() {
  ++epoch_;
  workers_ = std::make_unique<FakeWorkers>(shape_, config_, epoch_);
  engine_->OnGroupUp(epoch_, shape_);
}

void Simulation::BreakGroup() {
  // A result that was already on its way arrives after the group's end.
  if (!plans_.empty()) stale_ = workers_->Run(plans_.front());
  plans_.clear();
  images_.clear();
  workers_.reset();
  ++num_group_losses_;
  engine_->OnGroupDown(epoch_, Unavailable("rank 1 was killed"));
}

void Simulation::Execute(StepPlan plan) {
  if (plan.epoch == epoch_ && workers_ != nullptr) plans_.push_back(std::move(plan));
}

void Simulation::PutImage(int64_t epoch, const ImageInput& image) {
  if (epoch == epoch_ && workers_ != nullptr) images_.push_back({epoch, image});
}

void Simulation::AbandonGroup(int64_t epoch, const Status& why) {
  ADD_FAILURE() << "epoch " << epoch << " was abandoned: " << why;
}

void Simulation::CheckEnded() {
  for (auto it = open_.begin(); it != open_.end();) {
    if (!it->second.recording->end.has_value()) {
      ++it;
      continue;
    }
    CheckAnswer(it->second);
    it = open_.erase(it);
  }
}

void Simulation::CheckAnswer(Submitted& submitted) {
  const Request& request = submitted.request;
  const Recording& recording = *submitted.recording;
  SCOPED_TRACE(request.request_id + " ended with " + recording.end->ToString());
  ++num_ended_[recording.end->code()];
  EXPECT_TRUE(recording.destroyed);
  for (const auto& [choice, answer] : recording.answers) {
    const AnswerText expected = ExpectedAnswer(request, choice, config_);
    if (recording.end->ok()) {
      EXPECT_EQ(answer.token_ids, expected.token_ids);
      EXPECT_EQ(answer.text, expected.text);
      EXPECT_EQ(answer.finish_detail, expected.finish_detail);
      EXPECT_EQ(answer.prompt_logprobs, expected.prompt_logprobs);
      EXPECT_EQ(answer.prompt_top, expected.prompt_top);
    } else {
      // What was sent stands: it is the beginning of the answer.
      ASSERT_LE(answer.token_ids.size(), expected.token_ids.size());
      EXPECT_TRUE(
          std::equal(answer.token_ids.begin(), answer.token_ids.end(), expected.token_ids.begin()));
      EXPECT_TRUE(expected.text.starts_with(answer.text));
      ASSERT_LE(answer.prompt_logprobs.size(), expected.prompt_logprobs.size());
      EXPECT_TRUE(std::equal(answer.prompt_logprobs.begin(), answer.prompt_logprobs.end(),
                             expected.prompt_logprobs.begin()));
    }
  }
  switch (recording.end->code()) {
    case StatusCode::kOk: {
      EXPECT_EQ(recording.answers.size(), request.num_choices);
      int64_t num_tokens = 0;
      for (const auto& [choice, answer] : recording.answers)
        num_tokens += static_cast<int64_t>(answer.token_ids.size());
      ASSERT_TRUE(recording.usage.has_value());
      EXPECT_EQ(recording.usage->completion_tokens, num_tokens);
      break;
    }
    case StatusCode::kCancelled:
      EXPECT_TRUE(submitted.cancelled);
      break;
    case StatusCode::kDeadlineExceeded:
      EXPECT_LE(request.deadline, clock_.Now());
      break;
    case StatusCode::kUnavailable:  // refused while no group was up
      EXPECT_GT(num_group_losses_, 0);
      EXPECT_TRUE(recording.answers.empty());
      break;
    case StatusCode::kInternal:  // taken for the cause of every loss
      EXPECT_GE(num_group_losses_, 3);
      break;
    case StatusCode::kResourceExhausted:
      EXPECT_TRUE(recording.answers.empty());
      EXPECT_GE(recording.end->retry_after_seconds(), 1);
      break;
    case StatusCode::kInvalidArgument:
      EXPECT_TRUE(CanNeverFit(request));
      break;
    default:
      ADD_FAILURE();
  }
}

bool Simulation::CanNeverFit(const Request& request) const {
  if (request.num_prompt_tokens() + request.max_tokens > config_.max_model_len) return true;
  return std::any_of(request.images.begin(), request.images.end(), [&](const ImageInput& image) {
    return image.num_tokens > shape_.encoder_cache_tokens;
  });
}

void Simulation::CheckNothingLeft() {
  // The last steps in flight, the pixels under way, and then the releases they left.
  for (int i = 0; i < 1000; ++i) {
    AdvanceWorkers();
    AdvanceDeliveries();
    engine_->Turn(Duration::zero());
  }
  const EngineStats stats = engine_->Stats();
  EXPECT_EQ(stats.num_running, 0);
  EXPECT_EQ(stats.num_waiting, 0);
  EXPECT_EQ(stats.num_free_blocks, shape_.num_blocks);
  EXPECT_EQ(stats.num_free_host_blocks, shape_.num_host_blocks);
  EXPECT_EQ(stats.num_steps_in_flight, 0);
  EXPECT_EQ(workers_->num_sequences(), 0u);
  EXPECT_EQ(workers_->num_images(), 0u);
}

}  // namespace longhand::engine
