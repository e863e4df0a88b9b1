// TokenSampler over several ranks: tokens and log-probabilities are those of one rank that has all
// logits.
#include "worker/runner/token_sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>

#include "tests/unit/worker/comm/rank_group.h"
#include "tests/unit/worker/runner/runner_harness.h"

namespace longhand::runner {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

constexpr int64_t kHistory = 24;

// Rows to sample, and what they are sampled from.
struct Batch {
  explicit Batch(uint32_t seed) : random(seed) {}

  float Normal() { return std::normal_distribution<float>()(random); }
  bool OneIn(uint32_t n) { return random() % n == 0; }

  std::mt19937 random;
  int64_t vocab_size = 0;
  std::vector<float> logits;  // [rows, vocab_size]
  std::vector<SequenceChunk> chunks;
  std::vector<SequenceState> states;
  std::vector<int32_t> history;  // [rows, kHistory]
  std::vector<SampleRequest> requests;
};

SamplingParams RandomParams(Batch& batch) {
  SamplingParams params;
  if (batch.OneIn(6)) params.temperature = 0;
  if (batch.OneIn(4)) params.temperature = 0.6f;
  if (batch.OneIn(6)) params.temperature = 5;
  if (batch.OneIn(2)) params.top_p = batch.OneIn(2) ? 0.95f : 0.999f;
  if (batch.OneIn(3)) params.top_k = static_cast<int32_t>(1 + batch.random() % 300);
  if (batch.OneIn(4)) params.min_p = 0.02f;
  if (batch.OneIn(3)) params.repetition_penalty = 1.2f;
  if (batch.OneIn(5)) params.frequency_penalty = 0.5f;
  params.seed = batch.random();
  return params;
}

// Peaked, flat, full of ties, mostly impossible, or in one place.
float RandomLogit(Batch& batch, uint32_t look, int64_t id) {
  const float x = batch.Normal();
  switch (look) {
    case 0:
      return 10 * x;
    case 1:
      return 0.001f * x;
    case 2:
      return std::round(2 * x);
    case 3:
      return batch.OneIn(9) ? x : -kInfinity;
    case 4:
      return id < batch.vocab_size / 5 ? x + 40 : x;
    default:
      return 3 * x;
  }
}

// With `settles`, every filter keeps so few tokens that ranks need not gather for it.
std::unique_ptr<Batch> MakeBatch(uint32_t seed, bool logprobs, bool settles = false) {
  auto batch = std::make_unique<Batch>(seed);
  batch->vocab_size = 40 + static_cast<int64_t>(batch->random() % 3000);
  const size_t num_rows = 1 + batch->random() % 8;
  batch->chunks.resize(num_rows);
  batch->states.resize(num_rows);
  for (size_t row = 0; row < num_rows; ++row) {
    const uint32_t look = batch->random() % 6;
    for (int64_t id = 0; id < batch->vocab_size; ++id) {
      batch->logits.push_back(RandomLogit(*batch, look, id));
    }
    SequenceState& state = batch->states[row];
    state.sampling = RandomParams(*batch);
    if (settles && (state.sampling.top_p < 1 || state.sampling.top_k > 0)) {
      state.sampling.top_k =
          1 + state.sampling.top_k % static_cast<int32_t>(kernels::kShardCandidates);
    }
    if (logprobs && row % 2 == 0) state.sampling.num_logprobs = static_cast<int32_t>(row) + 1;
    for (int64_t i = 0; i < kHistory; ++i) {
      batch->history.push_back(
          static_cast<int32_t>(batch->random() % static_cast<uint32_t>(batch->vocab_size)));
    }
    state.history_row = static_cast<int32_t>(row);
    state.prompt_len = 8;
    batch->chunks[row].output_position = static_cast<int32_t>(5 + row);
    if (batch->OneIn(4)) {
      batch->chunks[row].suppressed_token_ids = {2, static_cast<int32_t>(batch->vocab_size - 1)};
    }
    for (int32_t id = 0; row % 3 != 1 && id < batch->vocab_size; id += 17) {
      const int64_t num_biases = std::ssize(state.biases);
      if (num_biases == kMaxTokenBiases) break;
      state.biases.push_back({id, num_biases == 5 ? 100 : 3 * batch->Normal()});
    }
    if (batch->OneIn(4)) {
      std::vector<uint32_t>& allowed = batch->chunks[row].allowed_tokens;
      allowed.resize(static_cast<size_t>(kernels::MaskWords(batch->vocab_size)));
      for (uint32_t& word : allowed) word = static_cast<uint32_t>(batch->random());
      allowed[0] |= 16;
    }
    batch->requests.push_back({&batch->chunks[row], &state});
  }
  return batch;
}

// What a rank of `communicator` samples, and how often all logits were gathered.
struct Drawn {
  std::vector<SampledToken> tokens;
  bool all_settled = true;  // as DrawSettles() says
  int num_gathers = 0;
};

Drawn Draw(const Batch& batch,
           const std::string& backend,
           bool staged,
           comm::Communicator& communicator) {
  const std::unique_ptr<kernels::Ops> ops = MakeOps(backend);
  const auto num_rows = static_cast<int64_t>(batch.requests.size());
  const int64_t num_ranks = communicator.size();
  const int64_t width = (batch.vocab_size + num_ranks - 1) / num_ranks;
  // Padded with what would win.
  std::vector<float> own(static_cast<size_t>(num_rows * width), kInfinity);
  std::vector<float> all = batch.logits;
  kernels::VocabShard shard{.logits = TensorView(own.data(), DType::kF32, {num_rows, width}),
                            .first_id = width * communicator.rank(),
                            .vocab_size = batch.vocab_size};
  shard.num_ids = std::min(width, batch.vocab_size - shard.first_id);
  for (int64_t row = 0; row < num_rows; ++row) {
    std::copy_n(batch.logits.data() + row * batch.vocab_size + shard.first_id, shard.num_ids,
                own.data() + row * width);
  }
  Drawn drawn;
  const auto gather = [&]() -> Result<TensorView> {
    ++drawn.num_gathers;
    return TensorView(all.data(), DType::kF32, {num_rows, batch.vocab_size});
  };
  std::vector<int32_t> tokens_so_far = batch.history;
  auto sampler = TokenSampler::Create(
      num_rows, num_ranks, TensorView(tokens_so_far.data(), DType::kI32, {num_rows, kHistory}),
      *ops);
  LONGHAND_CHECK(sampler.ok()) << sampler.status();
  for (const SequenceState& state : batch.states) {
    drawn.all_settled = drawn.all_settled && (*sampler)->DrawSettles(state.sampling);
  }
  // Zeros, which are a step's that ran ahead: they stay until the call after the next.
  const auto ahead = (*sampler)->CopyIds(num_rows);
  LONGHAND_CHECK(ahead.ok()) << ahead.status();
  Result<std::vector<SampledToken>> tokens = Unavailable("not drawn");
  if (staged) {
    Status status = (*sampler)->Stage(batch.requests, num_rows, batch.vocab_size);
    if (status.ok()) status = (*sampler)->DrawStaged(shard, communicator);
    LONGHAND_CHECK(status.ok()) << status;
    tokens = (*sampler)->Fetch(batch.requests, gather, communicator);
  } else {
    tokens = (*sampler)->Sample(shard, batch.requests, gather, communicator);
  }
  LONGHAND_CHECK(tokens.ok()) << tokens.status();
  drawn.tokens = std::move(tokens).value();
  EXPECT_EQ(std::ranges::count(*ahead, 0), num_rows);
  for (int64_t row = 0; row < num_rows; ++row) {
    EXPECT_EQ(tokens_so_far[static_cast<size_t>(row * kHistory + 8 + 5 + row)],
              drawn.tokens[static_cast<size_t>(row)].token_id);
  }
  return drawn;
}

// One per rank.
std::vector<Drawn> DrawOn(int num_ranks,
                          const Batch& batch,
                          const std::string& backend,
                          bool staged) {
  std::vector<Drawn> drawn(static_cast<size_t>(num_ranks));
  const auto transport =
      num_ranks == 1 ? comm::TestTransport::kSingle : comm::TestTransport::kSharedMemory;
  comm::RankGroup group({transport, num_ranks}, std::chrono::seconds(60));
  group.Run([&](comm::Communicator& communicator) {
    drawn[static_cast<size_t>(communicator.rank())] = Draw(batch, backend, staged, communicator);
  });
  return drawn;
}

std::vector<int32_t> IdsOf(const Drawn& drawn) {
  std::vector<int32_t> ids;
  for (const SampledToken& token : drawn.tokens) ids.push_back(token.token_id);
  return ids;
}

void ExpectSameLogprobs(const std::vector<SampledToken>& actual,
                        const std::vector<SampledToken>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(actual[i].logprob, expected[i].logprob);
    ASSERT_EQ(actual[i].top.size(), expected[i].top.size());
    for (size_t j = 0; j < expected[i].top.size(); ++j) {
      EXPECT_EQ(actual[i].top[j].token_id, expected[i].top[j].token_id);
      EXPECT_EQ(actual[i].top[j].logprob, expected[i].top[j].logprob);
    }
  }
}

class TokenSamplerTest : public ::testing::TestWithParam<const char*> {};

TEST_P(TokenSamplerTest, RanksDrawWhatOneRankDraws) {
  int num_open = 0, num_settled = 0;
  for (uint32_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    const auto batch = MakeBatch(seed, /*logprobs=*/false);
    const Drawn expected = DrawOn(1, *batch, GetParam(), false).front();
    for (const int num_ranks : {2, 4}) {
      for (const Drawn& rank : DrawOn(num_ranks, *batch, GetParam(), false)) {
        EXPECT_EQ(IdsOf(rank), IdsOf(expected)) << num_ranks;
        (rank.num_gathers > 0 ? num_open : num_settled) += 1;
      }
    }
  }
  // Both ways were taken.
  EXPECT_GT(num_open, 0);
  EXPECT_GT(num_settled, 0);
}

TEST_P(TokenSamplerTest, WhatADrawSettlesIsNeverLeftOpen) {
  for (uint32_t seed = 301; seed <= 306; ++seed) {
    SCOPED_TRACE(seed);
    const auto batch = MakeBatch(seed, /*logprobs=*/false, /*settles=*/true);
    for (const Drawn& rank : DrawOn(3, *batch, GetParam(), false)) {
      EXPECT_TRUE(rank.all_settled);
      EXPECT_EQ(rank.num_gathers, 0);
    }
  }
}

TEST_P(TokenSamplerTest, LogprobsAreThoseOfOneRank) {
  for (uint32_t seed = 101; seed <= 103; ++seed) {
    SCOPED_TRACE(seed);
    const auto batch = MakeBatch(seed, /*logprobs=*/true);
    const Drawn expected = DrawOn(1, *batch, GetParam(), false).front();
    const Drawn first = DrawOn(2, *batch, GetParam(), false).front();
    EXPECT_EQ(IdsOf(first), IdsOf(expected));
    ExpectSameLogprobs(first.tokens, expected.tokens);
  }
}

TEST_P(TokenSamplerTest, BiasesAreOfTheSequence) {
  const auto batch = MakeBatch(/*seed=*/401, /*logprobs=*/false);
  // Which no mask of the batch takes away.
  constexpr int32_t kToken = 4;
  for (size_t row = 0; row < batch->states.size(); ++row) {
    batch->logits[row * static_cast<size_t>(batch->vocab_size) + kToken] = 0;
    batch->states[row].sampling = {.temperature = 0};
    batch->states[row].biases = {{kToken, 100}};
  }
  for (const int32_t id : IdsOf(DrawOn(1, *batch, GetParam(), false).front())) {
    EXPECT_EQ(id, kToken);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends,
                         TokenSamplerTest,
                         ::testing::Values("reference", "cpu", "emulated"),
                         [](const auto& info) { return std::string(info.param); });

// Rows that were staged, as recorded steps have them.
TEST(TokenSamplerStagedTest, RanksDrawWhatOneRankDraws) {
  for (uint32_t seed = 201; seed <= 204; ++seed) {
    SCOPED_TRACE(seed);
    const auto batch = MakeBatch(seed, /*logprobs=*/false);
    const Drawn expected = DrawOn(1, *batch, "emulated", false).front();
    for (const Drawn& rank : DrawOn(4, *batch, "emulated", true)) {
      EXPECT_EQ(IdsOf(rank), IdsOf(expected));
    }
  }
}

}  // namespace
}  // namespace longhand::runner
