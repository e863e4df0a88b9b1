// RepetitionGuard: notices that an answer goes round in a circle.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace longhand::engine {

// A loop is the same tokens three times over, and at least 64 of them repeated; its period is at
// most 512 tokens. An answer that has come out of one and falls into it again is noticed after 16.
// A function of the tokens. Engine thread.
class RepetitionGuard {
 public:
  RepetitionGuard();

  void Append(int32_t token_id);
  // While the answer is in a loop: the token with which the loop would go on, at the position after
  // the next one.
  std::optional<int32_t> Continuation() const;
  // Loops that were met.
  int64_t num_loops() const { return num_loops_; }
  // So many that the answer had better end.
  bool is_stuck() const { return num_loops_ >= kMaxLoops; }

 private:
  static constexpr int64_t kMaxPeriod = 512;
  static constexpr int64_t kMaxLoops = 16;
  struct Period {
    int64_t num_repeated = 0;  // latest tokens in a row that are those of a period before
    int64_t suspected_until =
        0;  // a loop of this period was met: up to this token it may come back
  };

  int32_t Token(int64_t idx) const { return latest_[static_cast<size_t>(idx % kMaxPeriod)]; }
  bool IsLoop(int64_t period) const;

  int64_t num_tokens_ = 0;
  std::array<int32_t, kMaxPeriod> latest_{};
  std::vector<Period> periods_;  // [kMaxPeriod + 1]
  int64_t loop_ = 0;             // the period of the loop that the answer is in; 0: none
  int64_t num_loops_ = 0;
};

}  // namespace longhand::engine
