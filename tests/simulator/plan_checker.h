// PlanChecker: what every plan of an epoch must keep, judged from the plans and the requests alone.
// It knows nothing of the scheduler's own books: it carries the plans out over blocks that remember
// what was written to them, and looks whether each sequence finds its own tokens.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/step_plan.h"
#include "coordinator/engine/config.h"
#include "coordinator/engine/request.h"

namespace longhand::engine {

// What "is sampled" as a sequence's token `idx` of the answer.
inline int32_t OutputToken(int64_t sequence_id, int64_t idx) {
  return static_cast<int32_t>((sequence_id * 7 + idx) % 50);
}

class PlanChecker {
 public:
  PlanChecker(const EngineConfig& config, const GroupShape& shape);

  // A sequence that plans may name from now on.
  void OnSequence(int64_t sequence_id, const Request& request);
  // `committed_step`: the latest that has come back.
  void OnPlan(const StepPlan& plan, int64_t committed_step);
  // Nothing is in flight and everything was released: nothing may be left.
  void OnQuiet();

  // Empty while nothing was wrong; then what was wrong first.
  const std::string& error() const { return error_; }

 private:
  using Slots = std::vector<uint64_t>;  // [blocks * block_size]: what each token left
  struct Known {
    std::vector<int32_t> block_table;
    int64_t num_tokens = 0;
  };
  struct Block {
    int num_owners = 0;     // sequences whose tables name it
    int64_t last_step = 0;  // of those that named it
  };

  void Release(int64_t sequence_id);
  void Move(const std::vector<BlockCopy>& copies, const Slots& from, Slots* to);
  // It is going to hold something else.
  void CheckFree(int32_t block_id, int64_t committed_step);
  void CheckChunk(const SequenceChunk& chunk, int64_t step, int64_t committed_step);
  void CheckContents(const SequenceChunk& chunk, const Known& known);
  uint64_t& Slot(const Known& known, int64_t idx);
  template <typename... Parts>
  void Fail(const Parts&... parts);

  const EngineConfig& config_;
  const GroupShape& shape_;
  std::unordered_map<int64_t, std::vector<uint64_t>> contents_;  // what each token has to leave
  std::unordered_map<int64_t, Known> known_;
  std::unordered_map<int64_t, int> num_starts_;
  std::vector<Block> blocks_;
  Slots slots_, host_slots_;
  int64_t last_step_ = 0;
  std::string error_;
};

}  // namespace longhand::engine
