#include "tests/parity/worker_group.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <stop_token>
#include <utility>

#include "tests/parity/backends.h"
#include "worker/comm/create_communicator.h"

namespace longhand::parity {
namespace {

constexpr int64_t kEpoch = 1;

// Shared memory needs none.
class NoStore final : public comm::KeyValueStore {
  Status Set(std::string_view, std::string_view) override { return Unavailable("no store"); }
  Result<std::string> Get(std::string_view, std::chrono::milliseconds, std::stop_token) override {
    return Unavailable("no store");
  }
};

runner::RunnerConfig MakeRunnerConfig(const ModelConfig& model, const GroupOptions& options) {
  return {.model = model,
          .dtype = options.dtype,
          .kv_dtype = options.kv_dtype.value_or(options.dtype),
          .quantization = options.quantization,
          .num_blocks = WorkerGroup::kNumBlocks,
          .block_size = WorkerGroup::kBlockSize,
          .max_num_batched_tokens = WorkerGroup::kMaxTokens,
          .max_num_seqs = 16,
          .max_model_len = WorkerGroup::kMaxTokens,
          .encoder_cache_tokens = WorkerGroup::kEncoderCacheTokens,
          .image_bytes = int64_t{16} << 20,
          .max_patches_per_image = model.image_policy.max_pixels / (14 * 14),
          .max_loras = options.max_loras,
          .max_lora_rank = 8};
}

}  // namespace

template <typename Work>
Status WorkerGroup::OnEveryRank(Work work) {
  std::vector<std::future<Status>> running;
  for (int32_t i = 0; i < tp_size(); ++i) {
    Rank& rank = *ranks_[static_cast<size_t>(i)];
    running.push_back(rank.thread.Do([&work, &rank, i] { return Status(work(rank, i)); }));
  }
  Status first;
  for (std::future<Status>& rank : running) {
    const Status status = rank.get();
    if (first.ok()) first = status;
  }
  return first;
}

Result<std::unique_ptr<WorkerGroup>> WorkerGroup::Create(const ModelConfig& config,
                                                         const GroupOptions& options) {
  std::unique_ptr<WorkerGroup> group(new WorkerGroup(config));
  for (int32_t i = 0; i < options.tp_size; ++i) group->ranks_.push_back(std::make_unique<Rank>());
  // Groups of one process, and of test programs that run at once, have names of their own.
  static std::atomic<int> next_group = 0;
  const std::string name =
      "parity-" + std::to_string(getpid()) + "-" + std::to_string(next_group++);
  NoStore store;
  LONGHAND_RETURN_IF_ERROR(group->OnEveryRank([&](Rank& rank, int32_t rank_idx) -> Status {
    LONGHAND_ASSIGN_OR_RETURN(
        rank.communicator, comm::CreateCommunicator(
                               {.rank = rank_idx,
                                .size = options.tp_size,
                                .group = name,
                                .epoch = kEpoch,
                                .transport = options.tp_size == 1 ? comm::Transport::kSingle
                                                                  : comm::Transport::kSharedMemory},
                               store, {}));
    rank.ops = CreateOps(options.backend, options.threads);
    LONGHAND_ASSIGN_OR_RETURN(
        rank.runner, runner::ModelRunner::Create(MakeRunnerConfig(config, options), *rank.ops,
                                                 *rank.communicator,
                                                 /*progress=*/{}));
    return rank.runner->ResetForEpoch(kEpoch, *rank.communicator);
  }));
  return group;
}

WorkerGroup::~WorkerGroup() {
  const Status ended = OnEveryRank([](Rank& rank, int32_t) {
    rank.runner.reset();
    rank.communicator.reset();
    rank.ops.reset();
    return OkStatus();
  });
  LONGHAND_CHECK(ended.ok()) << ended;
}

Status WorkerGroup::PutImage(const ContentHash& hash,
                             int32_t height,
                             int32_t width,
                             const std::vector<uint8_t>& pixels) {
  for (const std::unique_ptr<Rank>& rank : ranks_) {
    LONGHAND_RETURN_IF_ERROR(rank->runner->PutImage(hash, height, width, pixels));
  }
  return OkStatus();
}

Status WorkerGroup::LoadAdapter(int64_t slot, const std::filesystem::path& directory) {
  return OnEveryRank([&](Rank& rank, int32_t) {
    return rank.runner->LoadAdapter(slot, directory.string(), directory);
  });
}

Result<StepResult> WorkerGroup::Execute(StepPlan plan) {
  plan.epoch = kEpoch;
  plan.step = ++step_;
  StepResult first;
  LONGHAND_RETURN_IF_ERROR(OnEveryRank([&](Rank& rank, int32_t rank_idx) {
    StepResult result = rank.runner->Execute(plan);
    const Status status = result.status;
    if (rank_idx == 0) first = std::move(result);
    return status;
  }));
  return first;
}

void WorkerGroup::Observe(bool on) {
  model::Observer observer;
  if (on) {
    observer = [this](const model::Observation& seen) {
      std::vector<float>& rows = observations_[std::string(seen.name)];
      rows.insert(rows.end(), seen.values.begin(), seen.values.end());
    };
  }
  for (const std::unique_ptr<Rank>& rank : ranks_) {
    rank->thread.Do([&] { rank->runner->SetObserver(observer); }).get();
    if (on) observer = [](const model::Observation&) {};
  }
}

}  // namespace longhand::parity
