#include "coordinator/api/sampling_request.h"

#include <gtest/gtest.h>

#include <limits>

namespace longhand::api {
namespace {

constexpr int64_t kVocab = 100;

Result<SamplingRequest> Parse(const v1::Sampling& sampling,
                              const GenerationDefaults& defaults = {},
                              const v1::Return& wanted = {}) {
  return ParseSampling(sampling, wanted, defaults, kVocab, [] { return uint64_t{77}; });
}

std::string Refusal(const std::function<void(v1::Sampling&)>& change) {
  v1::Sampling sampling;
  change(sampling);
  return Parse(sampling).status().message();
}

TEST(SamplingRequest, UnsetFieldsTakeTheCheckpointsDefaults) {
  const GenerationDefaults defaults{
      .temperature = 0.6f, .top_p = 0.9f, .top_k = 5, .repetition_penalty = 1.05f};
  const auto parsed = Parse({}, defaults);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->params.temperature, 0.6f);
  EXPECT_EQ(parsed->params.top_p, 0.9f);
  EXPECT_EQ(parsed->params.top_k, 5);
  EXPECT_EQ(parsed->params.repetition_penalty, 1.05f);
  EXPECT_EQ(parsed->params.seed, 77u);
  EXPECT_EQ(parsed->params.num_logprobs, -1);
  EXPECT_EQ(parsed->num_choices, 1u);
  EXPECT_FALSE(parsed->max_tokens.has_value());
}

TEST(SamplingRequest, SetFieldsWinEvenWhenTheyAreZero) {
  v1::Sampling sampling;
  sampling.set_temperature(0);
  sampling.set_top_k(0);
  sampling.set_seed(0);
  const auto parsed = Parse(sampling, {.temperature = 0.6f, .top_k = 5});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->params.temperature, 0.0f);
  EXPECT_EQ(parsed->params.top_k, 0);
  EXPECT_EQ(parsed->params.seed, 0u);
}

TEST(SamplingRequest, ACheckpointThatDoesNotSampleIsGreedy) {
  const auto parsed = Parse({}, {.do_sample = false, .temperature = 0.6f});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->params.temperature, 0.0f);
}

TEST(SamplingRequest, BiasesComeByRisingId) {
  v1::Sampling sampling;
  EXPECT_TRUE(Parse(sampling)->biases.empty());
  for (const int32_t id : {99, 0, 41, 7}) (*sampling.mutable_logit_bias())[id] = 100 - 2 * id;
  const auto parsed = Parse(sampling);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->biases, (std::vector<TokenBias>{{0, 100}, {7, 86}, {41, 18}, {99, -98}}));
}

TEST(SamplingRequest, WrongBiasesAreNamed) {
  const auto refusal = [](std::vector<TokenBias> biases) {
    return Refusal([&](auto& s) {
      for (const TokenBias& bias : biases) (*s.mutable_logit_bias())[bias.token_id] = bias.bias;
    });
  };
  EXPECT_EQ(refusal({{100, 1}}), "logit_bias has a bias of token 100; ids must be from 0 to 99");
  EXPECT_EQ(refusal({{-1, 1}}), "logit_bias has a bias of token -1; ids must be from 0 to 99");
  EXPECT_EQ(refusal({{4, 100}, {5, 101}}),
            "logit_bias of token 5 is 101; it must be from -100 to 100");
  EXPECT_EQ(refusal({{5, -100.5f}}),
            "logit_bias of token 5 is -100.5; it must be from -100 to 100");
  EXPECT_EQ(refusal({{5, std::numeric_limits<float>::quiet_NaN()}}),
            "logit_bias of token 5 is nan; it must be from -100 to 100");
  std::vector<TokenBias> many;
  for (int32_t id = 0; id < 301; ++id) many.push_back({id, 1});
  EXPECT_EQ(refusal(many), "logit_bias has 301 tokens; at most 300 are allowed");
}

TEST(SamplingRequest, TopPOfNothingIsGreedy) {
  v1::Sampling sampling;
  sampling.set_temperature(1.5f);
  sampling.set_top_p(0);
  const Result<SamplingRequest> parsed =
      ParseSampling(sampling, {}, GenerationDefaults(), 100, [] { return uint64_t{1}; });
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->params.temperature, 0);
  EXPECT_EQ(parsed->params.top_p, 1);
}

TEST(SamplingRequest, EachFieldOutOfRangeIsNamed) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Refusal([&](auto& s) { s.set_temperature(kNan); }),
            "temperature is nan; it must be a number of at least 0");
  EXPECT_EQ(Refusal([&](auto& s) { s.set_temperature(kInfinity); }),
            "temperature is inf; it must be a number of at least 0");
  EXPECT_EQ(Refusal([&](auto& s) { s.set_top_p(1.5f); }), "top_p is 1.5; it must be from 0 to 1");
  EXPECT_EQ(Refusal([&](auto& s) { s.set_top_p(kNan); }), "top_p is nan; it must be from 0 to 1");
  EXPECT_EQ(Refusal([&](auto& s) { s.set_top_k(-1); }),
            "top_k is -1; it must be at least 0 (0 is off)");
  EXPECT_EQ(Refusal([&](auto& s) { s.set_min_p(-0.5f); }), "min_p is -0.5; it must be from 0 to 1");
  EXPECT_EQ(Refusal([&](auto& s) { s.set_repetition_penalty(0); }),
            "repetition_penalty is 0; it must be above 0 and at most 10");
  EXPECT_EQ(Refusal([&](auto& s) { s.set_presence_penalty(3); }),
            "presence_penalty is 3; it must be from -2 to 2");
  EXPECT_EQ(Refusal([&](auto& s) { s.set_frequency_penalty(kNan); }),
            "frequency_penalty is nan; it must be from -2 to 2");
  EXPECT_EQ(Refusal([&](auto& s) { s.set_max_tokens(-1); }),
            "max_tokens is -1; it must be at least 0");
  EXPECT_EQ(Refusal([&](auto& s) { s.set_min_tokens(-1); }),
            "min_tokens is -1; it must be at least 0");
  EXPECT_EQ(Refusal([&](auto& s) {
              s.set_max_tokens(3);
              s.set_min_tokens(4);
            }),
            "min_tokens is 4; it must be at most max_tokens, which is 3");
  EXPECT_EQ(Refusal([&](auto& s) { s.set_n(0); }), "n is 0; it must be from 1 to 16");
  EXPECT_EQ(Refusal([&](auto& s) { s.add_stop(""); }),
            "a stop string has 0 bytes; it must have 1 to 256");
  EXPECT_EQ(Refusal([&](auto& s) {
              for (int i = 0; i < 17; ++i) s.add_stop("x");
            }),
            "stop has 17 strings; at most 16 are allowed");
  EXPECT_EQ(Refusal([&](auto& s) { s.add_stop_token_ids(kVocab); }),
            "stop_token_ids holds 100; ids must be from 0 to 99");
  v1::Return wanted;
  wanted.set_logprobs(21);
  EXPECT_EQ(Parse({}, {}, wanted).status().message(), "logprobs is 21; it must be from 0 to 20");
}

}  // namespace
}  // namespace longhand::api
