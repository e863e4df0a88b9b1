#include "client/generate/sampling_options.h"

#include <CLI/CLI.hpp>

namespace longhand::client {
namespace {

// CLI11 takes -1 for the largest number.
std::string CheckSeed(const std::string& given) {
  if (given.find_first_not_of("0123456789") == std::string::npos) return "";
  return "'" + given + "' is not a seed; it must be from 0 to 18446744073709551615";
}

}  // namespace

void AddSeedOption(CLI::App& app, SamplingOptions& o) {
  app.add_option("--seed", o.seed, "Same seed, same text")->check(CheckSeed)->take_last();
}

void AddSamplingOptions(CLI::App& app, SamplingOptions& o) {
  app.add_option("--temperature", o.temperature,
                 "0 is greedy; the checkpoint's by default, as all of these")
      ->take_last();
  app.add_option("--top-p", o.top_p, "Smallest set of tokens with this probability")->take_last();
  app.add_option("--top-k", o.top_k, "Only the k most likely tokens")->take_last();
  app.add_option("--min-p", o.min_p,
                 "Only tokens with this share of the likeliest one's probability")
      ->take_last();
  AddSeedOption(app, o);
  app.add_option("--repetition-penalty", o.repetition_penalty, "Above 1: less of what was there")
      ->take_last();
  app.add_option("--presence-penalty", o.presence_penalty, "-2 to 2")->take_last();
  app.add_option("--frequency-penalty", o.frequency_penalty, "-2 to 2")->take_last();
  app.add_option("--max-tokens", o.max_tokens, "Longest answer of one call to the model")
      ->take_last();
}

void SetSampling(const SamplingOptions& o, v1::Sampling* sampling) {
  if (o.temperature) sampling->set_temperature(static_cast<float>(*o.temperature));
  if (o.top_p) sampling->set_top_p(static_cast<float>(*o.top_p));
  if (o.top_k) sampling->set_top_k(*o.top_k);
  if (o.min_p) sampling->set_min_p(static_cast<float>(*o.min_p));
  if (o.seed) sampling->set_seed(*o.seed);
  if (o.repetition_penalty)
    sampling->set_repetition_penalty(static_cast<float>(*o.repetition_penalty));
  if (o.presence_penalty) sampling->set_presence_penalty(static_cast<float>(*o.presence_penalty));
  if (o.frequency_penalty)
    sampling->set_frequency_penalty(static_cast<float>(*o.frequency_penalty));
  if (o.max_tokens) sampling->set_max_tokens(*o.max_tokens);
}

}  // namespace longhand::client
