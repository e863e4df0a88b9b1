#include "bench/model_comparisons.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace longhand::bench {
namespace {

using Outcome = ModelDriver::Outcome;

// How many of the first `count` logits differ in any bit.
int64_t Different(const std::vector<float>& a, const std::vector<float>& b, size_t count) {
  int64_t different = 0;
  for (size_t i = 0; i < count; ++i) {
    different += std::memcmp(&a.at(i), &b.at(i), sizeof(float)) != 0;
  }
  return different;
}

// A decode step whose tokens are `token_ids`, run one way or the other.
Result<Outcome> DecodeWith(ModelDriver& d,
                           const Shape::Cell& cell,
                           int64_t done,
                           const std::vector<int32_t>& token_ids,
                           bool replay) {
  StepPlan plan = d.NextPlan(cell, done);
  for (size_t i = 0; i < token_ids.size(); ++i) plan.chunks[i].token_ids = {token_ids[i]};
  d.runner().ReplaySteps(replay);
  return d.StepWithLogits(std::move(plan));
}

Status Judge(ModelDriver& d, const std::string& what, Object object, int64_t other_logits) {
  d.report().Write(object.Add("other_logits", other_logits).Text());
  if (other_logits == 0) return OkStatus();
  return Internal(what, ": ", other_logits, " logits differ");
}

}  // namespace

// Either way may come first: what it wrote to the cache is what the other then reads.
Status CompareGraphs(ModelDriver& d, const Shape::Cell& cell) {
  Timing unused;
  LONGHAND_RETURN_IF_ERROR(d.Step(d.StartPlan(cell), TimedOps::Mode::kOff, &unused));
  std::vector<int32_t> token_ids(static_cast<size_t>(cell.batch), 1);
  std::vector<double> eager_ms, replay_ms;
  int64_t other_tokens = 0, other_logits = 0;
  for (int64_t done = 1; done <= d.options().steps; ++done) {
    const bool first = done % 2 == 0;
    LONGHAND_ASSIGN_OR_RETURN(const ModelDriver::Outcome one,
                              DecodeWith(d, cell, done, token_ids, first));
    LONGHAND_ASSIGN_OR_RETURN(const ModelDriver::Outcome two,
                              DecodeWith(d, cell, done, token_ids, !first));
    (first ? replay_ms : eager_ms).push_back(one.ms);
    (first ? eager_ms : replay_ms).push_back(two.ms);
    for (size_t i = 0; i < one.token_ids.size(); ++i) {
      other_tokens += one.token_ids[i] != two.token_ids.at(i);
    }
    other_logits += Different(one.logits, two.logits, one.logits.size());
    token_ids = two.token_ids;
  }
  d.runner().ReplaySteps(d.options().graphs);
  LONGHAND_RETURN_IF_ERROR(d.Release(cell.batch));
  d.report().Write(d.Header("graphs")
                       .Add("batch", cell.batch)
                       .Add("context", cell.context)
                       .Add("steps", int64_t{d.options().steps})
                       .Add("other_tokens", other_tokens)
                       .Add("other_logits", other_logits)
                       .Add("eager_ms", Quantile(eager_ms, 0.5))
                       .Add("replay_ms", Quantile(replay_ms, 0.5))
                       .Text());
  if (other_tokens == 0 && other_logits == 0) return OkStatus();
  return Internal("replayed steps differ from those run as they are: ", other_tokens,
                  " tokens and ", other_logits, " logits");
}

Status CompareBatches(ModelDriver& d) {
  Shape::Cell cell{.batch = 1, .context = d.shape().cells.front().context};
  int64_t largest = 1;
  for (const Shape::Cell& each : d.shape().cells) {
    if (each.context >= cell.context) largest = std::max(largest, each.batch);
  }
  LONGHAND_ASSIGN_OR_RETURN(const Outcome alone, d.StepWithLogits(d.StartPlan(cell)));
  LONGHAND_RETURN_IF_ERROR(d.Release(1));
  for (const int64_t batch : {int64_t{3}, int64_t{7}, int64_t{64}}) {
    if (batch > largest) continue;
    cell.batch = batch;
    LONGHAND_ASSIGN_OR_RETURN(const Outcome together, d.StepWithLogits(d.StartPlan(cell)));
    LONGHAND_RETURN_IF_ERROR(d.Release(batch));
    LONGHAND_RETURN_IF_ERROR(
        Judge(d, "a sequence alone and in a batch",
              d.Header("batches").Add("batch", batch).Add("context", cell.context),
              Different(alone.logits, together.logits, alone.logits.size())));
  }
  return OkStatus();
}

Status CompareRecomputed(ModelDriver& d, int64_t tokens) {
  const auto run = [&](int64_t last_chunk) -> Result<std::vector<float>> {
    const int64_t chunk = d.options().max_num_batched_tokens;
    for (int64_t done = 0; done < tokens - last_chunk;) {
      const int64_t end = std::min(done + chunk, tokens - last_chunk);
      Timing unused;
      LONGHAND_RETURN_IF_ERROR(
          d.Step(d.PrefillPlan(done, end, tokens), TimedOps::Mode::kOff, &unused));
      done = end;
    }
    LONGHAND_ASSIGN_OR_RETURN(Outcome last,
                              d.StepWithLogits(d.PrefillPlan(tokens - last_chunk, tokens, tokens)));
    LONGHAND_RETURN_IF_ERROR(d.Release(1));
    return std::move(last.logits);
  };
  LONGHAND_ASSIGN_OR_RETURN(const std::vector<float> decoded, run(1));
  const int64_t largest = std::min(tokens, d.options().max_num_batched_tokens);
  LONGHAND_ASSIGN_OR_RETURN(const std::vector<float> recomputed, run(largest));
  return Judge(d, "a prompt's last token decoded and recomputed",
               d.Header("recomputed").Add("tokens", tokens),
               Different(decoded, recomputed, decoded.size()));
}

}  // namespace longhand::bench
