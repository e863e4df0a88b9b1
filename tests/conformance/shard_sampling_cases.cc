// ShardLikeliest, ShardCandidates and JoinShards: the token of a vocabulary that is cut is that of
// Sample over all of it, whatever the logits look like and however it is cut.
#include <cmath>
#include <cstdlib>
#include <limits>

#include "kernels/shard_sampling.h"
#include "tests/conformance/cases.h"
#include "tests/conformance/sampling_rows.h"

namespace longhand::conformance {
namespace {

constexpr auto kCandidates = static_cast<int32_t>(kernels::kShardCandidates);
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Rows of all settings at once, each with its own key and history.
class MixedRows {
 public:
  MixedRows(int64_t vocab_size, bool whole_nucleus) : vocab_size_(vocab_size) {
    Add([](auto& p) { p.temperature = 0; });
    Add([](auto&) {});
    Add([](auto& p) { p.temperature = 1e-6f; });
    Add([](auto& p) { p.min_p = 0.05f; });
    Add([](auto& p) { p.repetition_penalty = 1.3f, p.presence_penalty = 0.7f; });
    Add([](auto& p) { p.temperature = 0, p.repetition_penalty = 1.05f; });
    Add([](auto& p) { p.top_k = 1; });
    Add([](auto& p) { p.top_k = 40, p.temperature = 1.5f; });
    Add([](auto& p) { p.top_k = kCandidates; });
    Add([](auto& p) { p.temperature = 0.6f, p.top_p = 0.95f; });
    Add([](auto& p) { p.top_p = 0.1f; });
    Add([](auto& p) { p.min_p = 0.01f, p.top_k = 20, p.top_p = 0.9f, p.temperature = 1.3f; });
    Add([](auto& p) { p.frequency_penalty = -0.4f, p.top_p = 0.8f; });
    if (whole_nucleus) {
      Add([](auto& p) { p.top_k = kCandidates + 1; });
      Add([](auto& p) { p.top_k = 700, p.top_p = 0.99f; });
      Add([](auto& p) { p.top_p = 0.9999f, p.temperature = 2; });
      Add([](auto& p) { p.top_p = 0.5f, p.temperature = 100; });
    }
    for (size_t i = 0; i < params_.size(); ++i) {
      kernels::SampleRow row;
      row.params = &params_[i];
      row.key = {.seed = 99, .choice = 1, .position = static_cast<uint32_t>(i)};
      if (i % 3 != 2) row.biases = &biases_[i / 3 % biases_.size()];
      if (i % 3 == 1) row.suppressed_ids = &suppressed_ids_;
      if (i % 4 == 2) row.allowed = &masks_[i / 4 % masks_.size()];
      row.history_row = static_cast<int32_t>(i);
      row.prompt_len = 5;
      row.output_len = 4;
      rows_.push_back(row);
    }
  }
  MixedRows(const MixedRows&) = delete;
  MixedRows& operator=(const MixedRows&) = delete;

  const std::vector<kernels::SampleRow>& rows() const { return rows_; }
  HostTensor history() const {
    return MakeHistory(size(), {0, 3, 3, 11, vocab_size_}, {3, 5, 5, vocab_size_ / 2});
  }
  int64_t size() const { return static_cast<int64_t>(rows_.size()); }

 private:
  template <typename Change>
  void Add(Change change) {
    SamplingParams params;
    change(params);
    params_.push_back(params);
  }

  const int64_t vocab_size_;
  const std::vector<int32_t> suppressed_ids_{1, static_cast<int32_t>(vocab_size_ - 1)};
  // Of one token, of those round the middle, where a shard may end, and of most.
  const std::vector<std::vector<uint32_t>> masks_{
      MakeMask(vocab_size_, [this](int64_t id) { return id == vocab_size_ - 1; }),
      MakeMask(vocab_size_, [this](int64_t id) { return std::abs(2 * id - vocab_size_) < 9; }),
      MakeMask(vocab_size_, [](int64_t id) { return id % 3 != 1; })};
  // Of all that there can be, and of the ids round the middle and at both ends.
  const std::vector<std::vector<TokenBias>> biases_{
      MakeBiases(vocab_size_, kMaxTokenBiases),
      {{0, 1.5f},
       {static_cast<int32_t>(vocab_size_ / 2 - 1), -2.25f},
       {static_cast<int32_t>(vocab_size_ / 2), 0.75f},
       {static_cast<int32_t>(vocab_size_ - 1), 100}},
      {}};
  std::vector<SamplingParams> params_;
  std::vector<kernels::SampleRow> rows_;
};

struct Look {
  const char* name;
  // Of the token `id` of `vocab_size`, from a normal deviate.
  double (*logit)(double normal, int64_t id, int64_t vocab_size);
};

const Look kLooks[] = {
    {"a model's", [](double x, int64_t, int64_t) { return 3 * x; }},
    {"peaked", [](double x, int64_t, int64_t) { return 12 * x; }},
    {"equal", [](double, int64_t, int64_t) { return 1.0; }},
    {"of few values", [](double x, int64_t, int64_t) { return std::round(x); }},
    {"nearly flat", [](double x, int64_t, int64_t) { return 1e-3 * x; }},
    {"steep by id", [](double, int64_t id, int64_t) { return -0.01 * static_cast<double>(id); }},
    {"the last rank's alone",
     [](double x, int64_t id, int64_t n) { return id >= n - n / 4 ? x + 50 : x; }},
    {"mostly impossible",
     [](double x, int64_t id, int64_t) { return id % 11 == 5 ? x : -kInfinity; }},
    {"all impossible", [](double, int64_t, int64_t) { return -kInfinity; }},
    {"two infinite ones",
     [](double x, int64_t id, int64_t n) { return id == n / 3 || id == n - 2 ? kInfinity : x; }},
    {"with NaN", [](double x, int64_t id, int64_t) { return id % 5 == 2 ? std::nan("") : 2 * x; }},
};

HostTensor LogitsOf(const Look& look, int64_t num_rows, int64_t vocab_size) {
  Rng rng(/*seed=*/91);
  HostTensor logits = rng.Normal({num_rows, vocab_size}, DType::kF32);
  for (int64_t i = 0; i < logits.num_elements(); ++i) {
    logits.Set(i, look.logit(logits.At(i), i % vocab_size, vocab_size));
  }
  return logits;
}

// A rank's columns, and padding that is not to be read.
HostTensor ShardOf(const HostTensor& logits, int64_t first_id, int64_t num_ids, int64_t width) {
  const int64_t num_rows = logits.shape[0];
  HostTensor shard(DType::kF32, {num_rows, width});
  for (int64_t row = 0; row < num_rows; ++row) {
    for (int64_t i = 0; i < width; ++i) {
      shard.Set(row * width + i,
                i < num_ids ? logits.At(row * logits.shape[1] + first_id + i) : kInfinity);
    }
  }
  return shard;
}

struct Joined {
  HostTensor likeliest, words, token_ids, history;
};

// `num_ranks` ranks on one device, in turn.
Result<Joined> Join(Device& device,
                    const HostTensor& logits,
                    const MixedRows& rows,
                    int num_ranks) {
  const int64_t vocab_size = logits.shape[1], num_rows = rows.size();
  const int64_t width = (vocab_size + num_ranks - 1) / num_ranks;
  const TensorView likeliest = device.Out(DType::kI64, {num_ranks, num_rows});
  const TensorView words = device.Out(DType::kI64, {num_ranks, num_rows, kernels::kShardWords});
  const TensorView history = device.InOut(rows.history());
  std::vector<kernels::ShardLikeliestArgs> ranks;
  for (int64_t r = 0; r < num_ranks; ++r) {
    kernels::VocabShard shard;
    shard.first_id = std::min(width * r, vocab_size);
    shard.num_ids = std::min(width * (r + 1), vocab_size) - shard.first_id;
    shard.vocab_size = vocab_size;
    shard.logits = device.In(ShardOf(logits, shard.first_id, shard.num_ids, width));
    shard.rows = &rows.rows();
    shard.history = history;
    ranks.push_back(
        {shard, TensorView(likeliest.as<int64_t>() + r * num_rows, DType::kI64, {num_rows})});
    LONGHAND_RETURN_IF_ERROR(device.ops().ShardLikeliest(ranks.back()));
  }
  for (int64_t r = 0; r < num_ranks; ++r) {
    const kernels::ShardLikeliestArgs& rank = ranks[static_cast<size_t>(r)];
    LONGHAND_RETURN_IF_ERROR(device.ops().ShardLikeliest(rank));
    const TensorView own(words.as<int64_t>() + r * num_rows * kernels::kShardWords, DType::kI64,
                         {num_rows, kernels::kShardWords});
    LONGHAND_RETURN_IF_ERROR(
        device.ops().ShardCandidates({.shard = rank.shard, .likeliest = likeliest, .words = own}));
  }
  const TensorView token_ids = device.Out(DType::kI32, {num_rows});
  LONGHAND_RETURN_IF_ERROR(device.ops().JoinShards({.likeliest = likeliest,
                                                    .words = words,
                                                    .vocab_size = vocab_size,
                                                    .rows = &rows.rows(),
                                                    .token_ids = token_ids,
                                                    .history = history}));
  return Joined{device.Read(likeliest), device.Read(words), device.Read(token_ids),
                device.Read(history)};
}

// The tokens, and the history with them.
Result<Outputs> SampleWhole(Device& device, const HostTensor& logits, const MixedRows& rows) {
  kernels::SampleArgs args;
  args.logits = device.In(logits);
  args.rows = &rows.rows();
  args.token_ids = device.Out(DType::kI32, {rows.size()});
  args.history = device.InOut(rows.history());
  LONGHAND_RETURN_IF_ERROR(device.ops().Sample(args));
  return Outputs{device.Read(args.token_ids), device.Read(args.history)};
}

Body Whole(const Look& look, int64_t vocab_size, bool whole_nucleus) {
  return Once([=](Device& device) {
    const MixedRows rows(vocab_size, whole_nucleus);
    return SampleWhole(device, LogitsOf(look, rows.size(), vocab_size), rows);
  });
}

// A token that is not settled is sampled from all logits, as the caller does; `may_be_open` says
// whether there may be one.
Result<Outputs> RunCut(Device& device,
                       const Look& look,
                       int64_t vocab_size,
                       int num_ranks,
                       bool may_be_open,
                       const Body& run_whole) {
  const MixedRows rows(vocab_size, may_be_open);
  const HostTensor logits = LogitsOf(look, rows.size(), vocab_size);
  LONGHAND_ASSIGN_OR_RETURN(Joined joined, Join(device, logits, rows, num_ranks));
  LONGHAND_ASSIGN_OR_RETURN(const Outputs whole, run_whole(device));
  for (int64_t i = 0; may_be_open && i < rows.size(); ++i) {
    if (joined.token_ids.At(i) != -1) continue;
    joined.token_ids.Set(i, whole[0].At(i));
    // The last of its row.
    const int64_t end = (i + 1) * joined.history.shape[1] - 1;
    joined.history.Set(end, whole[1].At(end));
  }
  return Outputs{std::move(joined.token_ids), std::move(joined.history)};
}

// Numbers of 64 bits as two of 32 each, which a comparison keeps apart.
HostTensor Halves(HostTensor tensor) {
  tensor.dtype = DType::kI32;
  tensor.shape.push_back(2);
  return tensor;
}

// What ranks say, without masses and draws, which a backend may round its way or leave out where
// they cannot win; and the tokens, open ones included.
Result<Outputs> RunWords(Device& device, const Look& look, int64_t vocab_size, int num_ranks) {
  const MixedRows rows(vocab_size, /*whole_nucleus=*/true);
  LONGHAND_ASSIGN_OR_RETURN(Joined joined,
                            Join(device, LogitsOf(look, rows.size(), vocab_size), rows, num_ranks));
  auto* words = joined.words.view().as<int64_t>();
  for (int64_t i = 0; i < num_ranks * rows.size(); ++i) {
    std::fill_n(words + i * kernels::kShardWords, 3, 0);
  }
  return Outputs{Halves(std::move(joined.likeliest)), Halves(std::move(joined.words)),
                 std::move(joined.token_ids)};
}

}  // namespace

void AddShardSamplingCases(std::vector<Case>& cases) {
  const auto add = [&](const char* op, const std::string& name, Body body, Body same_bits) {
    cases.push_back({.op = op,
                     .name = name,
                     .body = std::move(body),
                     .tolerance = {0, Tolerance::Metric::kOfLargest, "the same tokens"},
                     .same_bits = std::move(same_bits)});
  };
  for (const Look& look : kLooks) {
    for (const int64_t vocab_size : {29, 1000, 6000}) {
      const Body whole = Whole(look, vocab_size, /*whole_nucleus=*/true);
      for (const int num_ranks : {1, 2, 3, 4, 8}) {
        if (vocab_size > 1000 && num_ranks % 2 != 0) continue;
        const std::string name = std::string(look.name) + ", " + std::to_string(vocab_size) +
                                 " tokens over " + std::to_string(num_ranks);
        add(
            "JoinShards", name,
            [=](Device& d) { return RunCut(d, look, vocab_size, num_ranks, true, whole); }, whole);
        if (vocab_size == 1000) {
          add(
              "ShardCandidates", name,
              [=](Device& d) { return RunWords(d, look, vocab_size, num_ranks); }, nullptr);
        }
      }
    }
  }
  // What no row may leave open: few tokens are likely, or top_k wants no more than are gathered.
  const Body whole = Whole(kLooks[1], 6000, /*whole_nucleus=*/false);
  for (const int num_ranks : {2, 4}) {
    add(
        "JoinShards", "settled without all logits, over " + std::to_string(num_ranks),
        [=](Device& d) { return RunCut(d, kLooks[1], 6000, num_ranks, false, whole); }, whole);
  }
}

}  // namespace longhand::conformance
