// Sampling draws from the recorded distributions: penalties, temperature, min_p, top_k, top_p in
// the order that SamplingParams states.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "kernels/reference/sampling.h"
#include "tests/parity/recording.h"

namespace longhand::parity {
namespace {

constexpr int kRows = 2;

SamplingParams ReadParams(const boost::json::object& object) {
  SamplingParams params;
  const auto read = [&object](std::string_view name, auto& field) {
    if (const boost::json::value* value = object.if_contains(name)) {
      field = value->to_number<std::decay_t<decltype(field)>>();
    }
  };
  read("temperature", params.temperature);
  read("top_p", params.top_p);
  read("top_k", params.top_k);
  read("min_p", params.min_p);
  read("repetition_penalty", params.repetition_penalty);
  read("presence_penalty", params.presence_penalty);
  read("frequency_penalty", params.frequency_penalty);
  return params;
}

// One recorded row of logits with its history, under one set of parameters.
struct Case {
  std::string name;
  SamplingParams params;
  std::vector<float> logits;
  std::vector<int32_t> prompt;
  std::vector<int32_t> output;
  std::vector<float> expected;  // probabilities

  kernels::SampleRow Row(int32_t history_row) const {
    return {.params = &params,
            .history_row = history_row,
            .prompt_len = static_cast<int32_t>(prompt.size()),
            .output_len = static_cast<int32_t>(output.size())};
  }
  // Prompt, output, and room for a token, as often.
  std::vector<int32_t> History(int num_rows) const {
    std::vector<int32_t> tokens;
    for (int i = 0; i < num_rows; ++i) {
      tokens.insert(tokens.end(), prompt.begin(), prompt.end());
      tokens.insert(tokens.end(), output.begin(), output.end());
      tokens.push_back(-1);
    }
    return tokens;
  }
  static TensorView ViewOf(std::vector<int32_t>& history, int num_rows) {
    return {history.data(), DType::kI32, {num_rows, std::ssize(history) / num_rows}};
  }
};

std::vector<Case> Cases() {
  const Recording& recording = TestRecording();
  std::vector<Case> cases;
  for (int row = 0; row < kRows; ++row) {
    const std::string prefix = "samp/" + std::to_string(row) + "/";
    int number = 0;
    for (const boost::json::value& params : recording.notes().at("sampling").as_array()) {
      const std::string name = prefix + std::to_string(number++);
      cases.push_back({.name = name + " " + boost::json::serialize(params),
                       .params = ReadParams(params.as_object()),
                       .logits = recording.Floats(prefix + "logits"),
                       .prompt = recording.Ints(prefix + "prompt"),
                       .output = recording.Ints(prefix + "output"),
                       .expected = recording.Floats(name + "/vllm")});
    }
  }
  return cases;
}

TEST(SamplingParity, TheDistributionIsTheRecordedOne) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    std::vector<int32_t> history = c.History(1);
    const std::vector<float> actual = kernels::reference::SamplingDistribution(
        c.logits.data(), static_cast<int64_t>(c.logits.size()), c.Row(0), Case::ViewOf(history, 1));
    ASSERT_EQ(actual.size(), c.expected.size());
    for (size_t token = 0; token < actual.size(); ++token) {
      ASSERT_NEAR(actual[token], c.expected[token], 1e-5) << "token " << token;
      ASSERT_EQ(actual[token] > 0, c.expected[token] > 0) << "token " << token;
    }
  }
}

// Draws `num_draws` tokens of the case, each at its own position of one answer.
std::vector<int64_t> CountDraws(kernels::Ops& ops, const Case& c, int num_draws) {
  const int64_t vocab_size = static_cast<int64_t>(c.logits.size());
  std::vector<float> logits;
  std::vector<kernels::SampleRow> rows;
  for (int i = 0; i < num_draws; ++i) {
    logits.insert(logits.end(), c.logits.begin(), c.logits.end());
    rows.push_back(c.Row(i));
    rows.back().key = {.seed = 7, .position = static_cast<uint32_t>(i)};
  }
  std::vector<int32_t> ids(static_cast<size_t>(num_draws));
  std::vector<int32_t> history = c.History(num_draws);
  const Status status = ops.Sample({.logits = {logits.data(), DType::kF32, {num_draws, vocab_size}},
                                    .rows = &rows,
                                    .token_ids = {ids.data(), DType::kI32, {num_draws}},
                                    .history = Case::ViewOf(history, num_draws)});
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(ops.Synchronize().ok());
  std::vector<int64_t> counts(c.logits.size());
  for (const int32_t id : ids) ++counts[static_cast<size_t>(id)];
  return counts;
}

// Pearson's statistic less its mean, in standard deviations. Tokens expected less than 5 times are
// counted together.
double ChiSquareDeviation(const std::vector<int64_t>& counts, const std::vector<float>& expected) {
  double num_draws = 0;
  for (const int64_t count : counts) num_draws += static_cast<double>(count);
  double statistic = 0;
  double rest_counted = 0;
  double rest_expected = 0;
  int cells = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double want = expected[i] * num_draws;
    const double got = static_cast<double>(counts[i]);
    if (want < 5) {
      rest_counted += got;
      rest_expected += want;
      continue;
    }
    statistic += (got - want) * (got - want) / want;
    ++cells;
  }
  if (rest_expected >= 5) {
    statistic += (rest_counted - rest_expected) * (rest_counted - rest_expected) / rest_expected;
    ++cells;
  }
  const double degrees = cells - 1;
  return degrees < 1 ? 0 : (statistic - degrees) / std::sqrt(2 * degrees);
}

TEST(SamplingParity, DrawsFollowTheRecordedDistribution) {
  constexpr int kDraws = 1000;
  const std::unique_ptr<kernels::Ops> ops = kernels::CreateReferenceOps();
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    const std::vector<int64_t> counts = CountDraws(*ops, c, kDraws);
    for (size_t token = 0; token < counts.size(); ++token) {
      if (counts[token] > 0) {
        EXPECT_GT(c.expected[token], 0) << "token " << token;
      }
    }
    // The keys are fixed, so this is no matter of luck; 4 deviations is 1 in 10,000 when chosen.
    EXPECT_LT(ChiSquareDeviation(counts, c.expected), 4);
  }
}

}  // namespace
}  // namespace longhand::parity
