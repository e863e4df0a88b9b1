// Sample and Logprobs. A draw is a function of the logits, the parameters and the key, so ids must
// equal the reference's; a chi-square test shows that the draws have the distribution that the
// parameters ask for.
#include <cmath>
#include <limits>

#include "kernels/reference/sampling.h"
#include "tests/conformance/cases.h"
#include "tests/conformance/sampling_rows.h"

namespace longhand::conformance {
namespace {

struct Setting {
  const char* name;
  SamplingParams params;
};

std::vector<Setting> Settings() {
  std::vector<Setting> settings;
  const auto add = [&](const char* name, auto&& change) {
    SamplingParams params;
    change(params);
    settings.push_back({name, params});
  };
  add("greedy", [](auto& p) { p.temperature = 0; });
  add("plain", [](auto&) {});
  add("temperature 0.6, top_p 0.95", [](auto& p) { p.temperature = 0.6f, p.top_p = 0.95f; });
  add("temperature 2", [](auto& p) { p.temperature = 2; });
  add("temperature 1e-6", [](auto& p) { p.temperature = 1e-6f; });
  add("top_k 1", [](auto& p) { p.top_k = 1; });
  add("top_k 40", [](auto& p) { p.top_k = 40; });
  add("top_p 0.1", [](auto& p) { p.top_p = 0.1f; });
  add("top_p 0.999", [](auto& p) { p.top_p = 0.999f; });
  add("min_p 0.1", [](auto& p) { p.min_p = 0.1f; });
  add("min_p 1", [](auto& p) { p.min_p = 1; });
  add("all filters",
      [](auto& p) { p.min_p = 0.01f, p.top_k = 20, p.top_p = 0.9f, p.temperature = 1.3f; });
  add("repetition 1.05, greedy", [](auto& p) { p.repetition_penalty = 1.05f, p.temperature = 0; });
  add("penalties", [](auto& p) {
    p.repetition_penalty = 1.3f, p.presence_penalty = 0.7f, p.frequency_penalty = -0.4f;
  });
  return settings;
}

struct Mask {
  const char* name;
  bool (*is_allowed)(int64_t id, int64_t vocab_size);
};

const Mask kMasks[] = {
    {"one", [](int64_t id, int64_t n) { return id == n - n / 3; }},
    {"a few", [](int64_t id, int64_t) { return id % 97 == 64; }},
    {"most", [](int64_t id, int64_t) { return id % 5 != 3; }},
};

// Logits as a model's, or `flat`: all alike, so that ties and long cuts happen. With `adds` the
// biases are in the logits already.
Result<Outputs> RunSample(Device& device,
                          int64_t vocab_size,
                          const SamplingParams& params,
                          bool flat,
                          const Mask* mask = nullptr,
                          const std::vector<TokenBias>& biases = {},
                          bool adds = false) {
  Rng rng(/*seed=*/71);
  const int64_t num_rows = vocab_size > 10000 ? 4 : 33;
  HostTensor logits = rng.Normal({num_rows, vocab_size}, DType::kF32, flat ? 0.0 : 3.0);
  if (!flat && vocab_size > 20) {
    // Masked tokens, and a NaN that must never be drawn.
    for (int64_t i = 0; i < num_rows; ++i) {
      logits.Set(i * vocab_size + i % vocab_size, -std::numeric_limits<double>::infinity());
      logits.Set(i * vocab_size + 17, std::nan(""));
    }
  }
  std::vector<uint32_t> allowed;
  if (mask != nullptr) {
    allowed = MakeMask(vocab_size, [&](int64_t id) { return mask->is_allowed(id, vocab_size); });
  }
  std::vector<TokenBias> given = biases;
  for (TokenBias& bias : given) bias.bias = adds ? 0 : bias.bias;
  SamplingRows rows(num_rows, vocab_size, params, std::move(allowed), std::move(given));
  for (int64_t i = 0; adds && i < num_rows; ++i) {
    if (rows.rows()[static_cast<size_t>(i)].biases == nullptr) continue;
    for (const TokenBias& bias : biases) {
      float& logit = logits.view().as<float>()[i * vocab_size + bias.token_id];
      logit += bias.bias;
    }
  }
  kernels::SampleArgs args;
  args.logits = device.In(logits);
  args.rows = &rows.rows();
  args.token_ids = device.Out(DType::kI32, {num_rows});
  args.history = device.InOut(rows.history());
  LONGHAND_RETURN_IF_ERROR(device.ops().Sample(args));
  return Outputs{device.Read(args.token_ids), device.Read(args.history)};
}

// Draws many times from one row; returns the chi-square statistic against the exact probabilities.
Result<double> ChiSquare(Device& device, const SamplingParams& params) {
  constexpr int64_t kVocab = 24, kDraws = 6000;
  Rng rng(/*seed=*/72);
  const HostTensor one = rng.Normal({1, kVocab}, DType::kF32, 1.5);
  HostTensor logits(DType::kF32, {kDraws, kVocab});
  for (int64_t i = 0; i < kDraws * kVocab; ++i) logits.Set(i, one.At(i % kVocab));
  SamplingRows rows(kDraws, kVocab, params);
  kernels::SampleArgs args;
  args.logits = device.In(logits);
  args.rows = &rows.rows();
  args.token_ids = device.Out(DType::kI32, {kDraws});
  args.history = device.InOut(rows.history());
  LONGHAND_RETURN_IF_ERROR(device.ops().Sample(args));
  const HostTensor ids = device.Read(args.token_ids);
  std::vector<double> counts(kVocab, 0);
  for (int64_t i = 0; i < kDraws; ++i) ++counts[static_cast<size_t>(ids.At(i))];
  HostTensor copy = one, history = rows.history();
  const std::vector<float> expected = kernels::reference::SamplingDistribution(
      copy.view().as<float>(), kVocab, rows.rows()[0], history.view());
  double statistic = 0;
  for (int64_t id = 0; id < kVocab; ++id) {
    if (expected[id] == 0 && counts[id] > 0) return std::numeric_limits<double>::infinity();
    if (expected[id] == 0) continue;
    const double difference = counts[id] - kDraws * double{expected[id]};
    statistic += difference * difference / (kDraws * double{expected[id]});
  }
  return statistic;
}

// A row's token does not depend on the rows beside it.
Result<Outputs> SampleRowAlone(Device& device, int64_t row, bool alone) {
  constexpr int64_t kVocab = 1000, kRows = 9;
  Rng rng(/*seed=*/73);
  const HostTensor logits = rng.Normal({kRows, kVocab}, DType::kF32, 2.0);
  SamplingParams params;
  params.top_p = 0.9f;
  SamplingRows rows(kRows, kVocab, params);
  const std::vector<kernels::SampleRow> one{rows.rows()[row]};
  kernels::SampleArgs args;
  args.logits = device.In(alone ? logits.Rows(row, 1) : logits);
  args.rows = alone ? &one : &rows.rows();
  args.token_ids = device.Out(DType::kI32, {alone ? 1 : kRows});
  args.history = device.InOut(rows.history());
  LONGHAND_RETURN_IF_ERROR(device.ops().Sample(args));
  const HostTensor ids = device.Read(args.token_ids);
  return Outputs{alone ? ids : ids.Rows(row, 1)};
}

// Several steps, over each of which the histories grow: by what was appended, or given anew with
// the tokens that were drawn so far.
Result<Outputs> SampleSteps(Device& device, const SamplingParams& params, bool given) {
  constexpr int64_t kVocab = 40, kRows = 5, kPrompt = 3, kSteps = 12;
  Rng rng(/*seed=*/75);
  HostTensor known = MakeHistory(kRows, {4, 4, 9}, {}, kSteps);
  TensorView history = device.InOut(known);
  for (int64_t step = 0; step < kSteps; ++step) {
    std::vector<kernels::SampleRow> rows(kRows);
    for (int64_t i = 0; i < kRows; ++i) {
      rows[static_cast<size_t>(i)] = {
          .params = &params,
          .key = {.seed = static_cast<uint64_t>(i), .position = static_cast<uint32_t>(step)},
          .history_row = static_cast<int32_t>(kRows - 1 - i),
          .prompt_len = kPrompt,
          .output_len = static_cast<int32_t>(step)};
    }
    kernels::SampleArgs args;
    args.logits = device.In(rng.Normal({kRows, kVocab}, DType::kF32, 1.0));
    args.rows = &rows;
    args.token_ids = device.Out(DType::kI32, {kRows});
    args.history = given ? device.InOut(known) : history;
    LONGHAND_RETURN_IF_ERROR(device.ops().Sample(args));
    const HostTensor ids = device.Read(args.token_ids);
    for (int64_t i = 0; i < kRows; ++i) {
      known.Set((kRows - 1 - i) * (kPrompt + kSteps) + kPrompt + step, ids.At(i));
    }
  }
  return Outputs{given ? known : device.Read(history)};
}

Result<Outputs> RunLogprobs(Device& device, int64_t vocab_size, int64_t k, bool ties) {
  Rng rng(/*seed=*/74);
  constexpr int64_t kRows = 5;
  HostTensor logits = rng.Normal({kRows, vocab_size}, DType::kF32, 4.0);
  if (ties) {
    for (int64_t i = 0; i < logits.num_elements(); ++i) logits.Set(i, std::round(logits.At(i)));
  }
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < kRows; ++i) ids.push_back(rng.Below(vocab_size));
  kernels::LogprobsArgs args;
  args.logits = device.In(logits);
  args.token_ids = device.In(Int32(ids));
  args.logprobs = device.Out(DType::kF32, {kRows});
  if (k > 0) {
    args.top_ids = device.Out(DType::kI32, {kRows, k});
    args.top_logprobs = device.Out(DType::kF32, {kRows, k});
  }
  LONGHAND_RETURN_IF_ERROR(device.ops().Logprobs(args));
  Outputs outputs{device.Read(args.logprobs)};
  if (k > 0) {
    outputs.push_back(device.Read(args.top_ids));
    outputs.push_back(device.Read(args.top_logprobs));
  }
  return outputs;
}

void AddSample(std::vector<Case>& cases) {
  const Tolerance exact{0, Tolerance::Metric::kOfLargest, "the same ids"};
  for (const Setting& setting : Settings()) {
    for (int64_t vocab_size : {1, 29, 420, 5000, 151936}) {
      for (bool flat : {false, true}) {
        // Noise of 24 bits has ties among many equal tokens; the lower id wins them everywhere.
        if (flat && vocab_size > 5000) continue;
        cases.push_back(
            {.op = "Sample",
             .name = std::string(setting.name) + ", " + std::to_string(vocab_size) +
                     (flat ? " equal" : "") + " tokens",
             .body = [=](Device& d) { return RunSample(d, vocab_size, setting.params, flat); },
             .tolerance = exact});
      }
    }
    for (const Mask& mask : kMasks) {
      for (const int64_t vocab_size : {420, 5000}) {
        cases.push_back({.op = "Sample",
                         .name = std::string(setting.name) + ", " + mask.name + " of " +
                                 std::to_string(vocab_size) + " tokens allowed",
                         .body =
                             [=, &mask](Device& d) {
                               return RunSample(d, vocab_size, setting.params, false, &mask);
                             },
                         .tolerance = exact});
      }
    }
    for (const int64_t vocab_size : {1, 29, 420, 5000, 151936}) {
      for (const int64_t max_count : {1, 2, 300}) {
        const int64_t count = std::min(max_count, vocab_size);
        const auto run = [=](Device& d, bool adds) {
          return RunSample(d, vocab_size, setting.params, false, &kMasks[2],
                           MakeBiases(vocab_size, count), adds);
        };
        if (vocab_size == 1 && max_count > 1) continue;
        if (vocab_size > 5000 && count < 300) continue;
        const std::string name = std::string(setting.name) + ", " + std::to_string(count) +
                                 " biases of " + std::to_string(vocab_size) + " tokens";
        const Body biased = Once([=](Device& d) { return run(d, false); });
        cases.push_back({.op = "Sample", .name = name, .body = biased, .tolerance = exact});
        cases.push_back({.op = "Sample",
                         .name = name + " = in the logits already",
                         .body = biased,
                         .same_bits = [=](Device& d) { return run(d, true); }});
      }
    }
    if (setting.params.temperature == 0) continue;
    cases.push_back({.op = "Sample",
                     .name = std::string("chi-square of 6000 draws, ") + setting.name,
                     .tolerance = {52, Tolerance::Metric::kOfLargest,
                                   "23 degrees of freedom exceed 52 once in 2000 times"},
                     .statistic = [=](Device& d) { return ChiSquare(d, setting.params); }});
  }
  for (const bool greedy : {false, true}) {
    SamplingParams params{.temperature = greedy ? 0.0f : 1.0f,
                          .repetition_penalty = 1.3f,
                          .presence_penalty = 0.7f,
                          .frequency_penalty = 0.4f};
    cases.push_back({.op = "Sample",
                     .name = std::string("a history that grew = one that is given") +
                             (greedy ? ", greedy" : ""),
                     .body = [=](Device& d) { return SampleSteps(d, params, false); },
                     .tolerance = exact,
                     .same_bits = [=](Device& d) { return SampleSteps(d, params, true); }});
  }
  for (int64_t row : {0, 4, 8}) {
    cases.push_back({.op = "Sample",
                     .name = "row " + std::to_string(row) + " alone = in a batch",
                     .body = [=](Device& d) { return SampleRowAlone(d, row, true); },
                     .same_bits = [=](Device& d) { return SampleRowAlone(d, row, false); }});
  }
}

}  // namespace

void AddSamplingCases(std::vector<Case>& cases) {
  AddSample(cases);
  for (int64_t vocab_size : {1, 29, 420, 151936}) {
    for (int64_t k : {0, 1, 5, 20}) {
      if (k > vocab_size) continue;
      for (bool ties : {false, true}) {
        cases.push_back({.op = "Logprobs",
                         .name = std::to_string(vocab_size) + " tokens, best " + std::to_string(k) +
                                 (ties ? ", ties" : ""),
                         .body = [=](Device& d) { return RunLogprobs(d, vocab_size, k, ties); },
                         .tolerance = {1e-6, Tolerance::Metric::kOfLargest,
                                       "an f32 sum of exponentials and a logarithm"}});
      }
    }
  }
}

}  // namespace longhand::conformance
