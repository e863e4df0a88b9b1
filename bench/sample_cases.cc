// Sampling: whole vocabularies, with penalties over long histories, log-probabilities, and a rank's
// share of a vocabulary.
#include <random>

#include "bench/kernel_cases.h"
#include "kernels/shard_sampling.h"

namespace longhand::bench {
namespace {

constexpr DType kF32 = DType::kF32, kI32 = DType::kI32, kI64 = DType::kI64;
constexpr int64_t kVocabSize = 152064;

// Rows alike, and what they borrow.
struct Rows {
  Rows(const SamplingParams& params, int64_t num_rows) : rows(static_cast<size_t>(num_rows)) {
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].params = &params;
      rows[i].key = {.seed = 12345, .position = static_cast<uint32_t>(i)};
    }
  }
  // So many tokens each, which penalties count.
  void RememberTokens(int64_t prompt_len, int64_t output_len) {
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].history_row = static_cast<int32_t>(i);
      rows[i].prompt_len = static_cast<int32_t>(prompt_len);
      rows[i].output_len = static_cast<int32_t>(output_len);
    }
  }
  // Where those tokens lie, with room for the one that is drawn; empty without.
  Result<TensorView> History(Tensors& tensors, int64_t vocab_size) const {
    if (rows[0].history_row < 0) return TensorView();
    const int64_t length = rows[0].prompt_len + rows[0].output_len + 1;
    std::mt19937 draw(11);
    std::vector<int32_t> ids(rows.size() * static_cast<size_t>(length));
    for (int32_t& id : ids) {
      id = static_cast<int32_t>(draw() % static_cast<uint32_t>(vocab_size));
    }
    return tensors.Of(ids, {std::ssize(rows), length});
  }
  // As in a step: rows are staged beside the device's work. Without stages (a CPU) they go along.
  Result<const std::vector<kernels::SampleRow>*> Stage(kernels::Ops& ops,
                                                       int64_t vocab_size) const {
    const Status staged = ops.StageSampleRows(rows, vocab_size);
    if (staged.ok()) return static_cast<const std::vector<kernels::SampleRow>*>(nullptr);
    if (staged.code() != StatusCode::kUnimplemented) return staged;
    return &rows;
  }

  std::vector<kernels::SampleRow> rows;
};

void Sample(CaseTimer& timer,
            const std::string& what,
            const Rows& rows,
            int64_t num_rows,
            float deviation) {
  kernels::Ops& ops = timer.ops();
  const int64_t vocab_size = timer.Small(kVocabSize, 500);
  const Work work{
      .op = "Sample",
      .name = std::to_string(num_rows) + " x " + std::to_string(vocab_size) + ", " + what,
      .bytes = 4.0 * static_cast<double>(num_rows * vocab_size)};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    kernels::SampleArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.logits, tensors.Random(kF32, {num_rows, vocab_size}, deviation));
    LONGHAND_ASSIGN_OR_RETURN(args.token_ids, tensors.Zeros(kI32, {num_rows}));
    LONGHAND_ASSIGN_OR_RETURN(args.rows, rows.Stage(ops, vocab_size));
    LONGHAND_ASSIGN_OR_RETURN(args.history, rows.History(tensors, vocab_size));
    return Enqueue([&ops, args] { return ops.Sample(args); });
  });
}

void Logprobs(CaseTimer& timer, int64_t num_rows, int64_t num_best) {
  kernels::Ops& ops = timer.ops();
  const int64_t vocab_size = timer.Small(kVocabSize, 500);
  const Work work{.op = "Logprobs",
                  .name = std::to_string(num_rows) + " x " + std::to_string(vocab_size) +
                          ", best " + std::to_string(num_best),
                  .bytes = 4.0 * static_cast<double>(num_rows * vocab_size)};
  timer.Time(work, [&](Tensors& tensors) -> Result<Enqueue> {
    kernels::LogprobsArgs args;
    LONGHAND_ASSIGN_OR_RETURN(args.logits, tensors.Random(kF32, {num_rows, vocab_size}));
    LONGHAND_ASSIGN_OR_RETURN(args.token_ids, tensors.Zeros(kI32, {num_rows}));
    LONGHAND_ASSIGN_OR_RETURN(args.logprobs, tensors.Zeros(kF32, {num_rows}));
    if (num_best > 0) {
      LONGHAND_ASSIGN_OR_RETURN(args.top_ids, tensors.Zeros(kI32, {num_rows, num_best}));
      LONGHAND_ASSIGN_OR_RETURN(args.top_logprobs, tensors.Zeros(kF32, {num_rows, num_best}));
    }
    return Enqueue([&ops, args] { return ops.Logprobs(args); });
  });
}

// One rank of eight: what it says of its tokens, and the join, whose other words are empty.
void Shards(CaseTimer& timer, const std::string& what, const Rows& rows, int64_t num_rows) {
  constexpr int64_t kRanks = 8;
  kernels::Ops& ops = timer.ops();
  const int64_t vocab_size = timer.Small(kVocabSize, 512), num_ids = vocab_size / kRanks;
  const std::string name =
      std::to_string(num_rows) + " x " + std::to_string(num_ids) + " of 8 ranks, " + what;
  const auto make = [&](bool joins) {
    return [&, joins](Tensors& tensors) -> Result<Enqueue> {
      kernels::VocabShard shard{.logits = {}, .num_ids = num_ids, .vocab_size = vocab_size};
      TensorView likeliest, words;
      kernels::JoinShardsArgs join{.vocab_size = vocab_size};
      LONGHAND_ASSIGN_OR_RETURN(shard.logits, tensors.Random(kF32, {num_rows, num_ids}));
      LONGHAND_ASSIGN_OR_RETURN(likeliest, tensors.Zeros(kI64, {kRanks, num_rows}));
      LONGHAND_ASSIGN_OR_RETURN(words,
                                tensors.Zeros(kI64, {kRanks, num_rows, kernels::kShardWords}));
      LONGHAND_ASSIGN_OR_RETURN(join.token_ids, tensors.Zeros(kI32, {num_rows}));
      LONGHAND_ASSIGN_OR_RETURN(shard.rows, rows.Stage(ops, vocab_size));
      join.rows = shard.rows;
      join.likeliest = likeliest;
      join.words = words;
      const auto candidates = [&ops, shard, likeliest, words, num_rows] {
        const TensorView own(likeliest.data(), kI64, {num_rows});
        const TensorView own_words(words.data(), kI64, {num_rows, kernels::kShardWords});
        LONGHAND_RETURN_IF_ERROR(ops.ShardLikeliest({.shard = shard, .likeliest = own}));
        return ops.ShardCandidates({.shard = shard, .likeliest = likeliest, .words = own_words});
      };
      if (!joins) return Enqueue(candidates);
      LONGHAND_RETURN_IF_ERROR(candidates());
      return Enqueue([&ops, join] { return ops.JoinShards(join); });
    };
  };
  timer.Time({.op = "ShardCandidates",
              .name = name + ", the likeliest first",
              .bytes = 8.0 * static_cast<double>(num_rows * num_ids)},
             make(/*joins=*/false));
  timer.Time({.op = "JoinShards",
              .name = name,
              .bytes = 8.0 * static_cast<double>(kRanks * num_rows * kernels::kShardWords)},
             make(/*joins=*/true));
}

}  // namespace

void SampleCases(CaseTimer& timer) {
  SamplingParams greedy, nucleus, top_k, penalties;
  greedy.temperature = 0;
  nucleus.temperature = 0.6f;
  nucleus.top_p = 0.95f;
  top_k = nucleus;
  top_k.top_k = 40;
  penalties = nucleus;
  penalties.repetition_penalty = 1.05f;
  penalties.frequency_penalty = 0.1f;
  for (const int64_t real_rows : {1, 16, 64}) {
    const int64_t num_rows = timer.Small(real_rows, 2);
    const Rows of_greedy(greedy, num_rows), of_nucleus(nucleus, num_rows);
    const std::string nucleus_name = "temperature 0.6, top_p 0.95";
    Sample(timer, "greedy", of_greedy, num_rows, 1.0f);
    Sample(timer, nucleus_name + ", peaked", of_nucleus, num_rows, 4.0f);
    Sample(timer, nucleus_name + ", flat", of_nucleus, num_rows, 1.0f);
    Sample(timer, "temperature 0.6, top_k 40, top_p 0.95", Rows(top_k, num_rows), num_rows, 1.0f);
    Rows of_penalties(penalties, num_rows);
    const int64_t prompt_len = timer.Small(32 << 10, 50), output_len = timer.Small(8 << 10, 20);
    of_penalties.RememberTokens(prompt_len, output_len);
    Sample(timer,
           nucleus_name + ", penalties over " + std::to_string(prompt_len) + " + " +
               std::to_string(output_len) + " tokens",
           of_penalties, num_rows, 4.0f);
    for (const int64_t num_best : {0, 20}) Logprobs(timer, num_rows, num_best);
    Shards(timer, "greedy", of_greedy, num_rows);
    Shards(timer, nucleus_name, of_nucleus, num_rows);
  }
}

}  // namespace longhand::bench
