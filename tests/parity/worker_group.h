// WorkerGroup: all ranks of a model as threads of the test, over the real runner and communicator.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/config/model_config.h"
#include "common/status.h"
#include "common/step_plan.h"
#include "kernels/ops.h"
#include "tests/parity/rank_thread.h"
#include "worker/comm/communicator.h"
#include "worker/runner/model_runner.h"

namespace longhand::parity {

struct GroupOptions {
  std::string backend = "cpu";  // "reference", "emulated"
  int32_t tp_size = 1;
  Quantization quantization = Quantization::kNone;
  DType dtype = DType::kF32;      // of weights and KV cache
  std::optional<DType> kv_dtype;  // of the KV cache, where it is another
  int threads = 1;                // of each rank
  int64_t max_loras = 0;
};

// Rows of every observed value of rank 0, in the order in which they were computed.
using Observations = std::map<std::string, std::vector<float>>;

class WorkerGroup {
 public:
  static constexpr int64_t kBlockSize = 16;
  static constexpr int64_t kNumBlocks = 512;
  static constexpr int64_t kMaxTokens = 2048;  // of a step
  static constexpr int64_t kEncoderCacheTokens = 2048;

  // Loads the checkpoint of `config`, whose fields may have been changed since it was read.
  static Result<std::unique_ptr<WorkerGroup>> Create(const ModelConfig& config,
                                                     const GroupOptions& options);
  ~WorkerGroup();

  const ModelConfig& config() const { return config_; }
  int32_t tp_size() const { return static_cast<int32_t>(ranks_.size()); }

  Status PutImage(const ContentHash& hash,
                  int32_t height,
                  int32_t width,
                  const std::vector<uint8_t>& pixels);
  // Reads an adapter on every rank.
  Status LoadAdapter(int64_t slot, const std::filesystem::path& directory);
  // Runs the plan on every rank; numbers it. Rank 0's result, or the first rank's error.
  Result<StepResult> Execute(StepPlan plan);

  // From now on, or no longer.
  void Observe(bool on);
  Observations TakeObservations() { return std::exchange(observations_, {}); }

 private:
  // Parts in the order in which they are made; `thread` ends after the others are gone.
  struct Rank {
    RankThread thread;
    std::unique_ptr<kernels::Ops> ops;
    std::unique_ptr<comm::Communicator> communicator;
    std::unique_ptr<runner::ModelRunner> runner;
  };

  explicit WorkerGroup(const ModelConfig& config) : config_(config) {}
  // Runs `work(rank)` on every rank at once; the first error.
  template <typename Work>
  Status OnEveryRank(Work work);

  const ModelConfig config_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  int64_t step_ = 0;
  Observations observations_;
};

}  // namespace longhand::parity
