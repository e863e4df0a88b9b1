// PlanChecker: what every plan of an epoch must keep, judged from the plans alone. It knows nothing
// of the scheduler's own books.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/step_plan.h"
#include "coordinator/engine/config.h"

namespace longhand::engine {

class PlanChecker {
 public:
  PlanChecker(const EngineConfig& config, const GroupShape& shape);

  // `committed_step`: the latest that has come back.
  void OnPlan(const StepPlan& plan, int64_t committed_step);
  // Nothing is in flight and everything was released: nothing may be left.
  void OnQuiet();

  // Empty while nothing was wrong; then what was wrong first.
  const std::string& error() const { return error_; }
  // Tokens in KV of a sequence that the workers know; 0 otherwise.
  int64_t num_tokens(int64_t sequence_id) const;

 private:
  struct Known {
    std::vector<int32_t> block_table;
    int64_t num_tokens = 0;
  };
  struct Block {
    int64_t owner = 0;  // sequence; 0: none
    int64_t last_step = 0;
  };

  void Release(int64_t sequence_id);
  void CheckChunk(const SequenceChunk& chunk, int64_t step, int64_t committed_step);
  template <typename... Parts>
  void Fail(const Parts&... parts);

  const EngineConfig& config_;
  const GroupShape& shape_;
  std::unordered_map<int64_t, Known> known_;
  std::unordered_map<int64_t, int> num_starts_;
  std::vector<Block> blocks_;
  int64_t last_step_ = 0;
  std::string error_;
};

}  // namespace longhand::engine
