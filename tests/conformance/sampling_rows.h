// Rows for Sample: one set of parameters, a key for each row, and a history that penalties count.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/ops.h"
#include "tests/conformance/host_tensor.h"

namespace longhand::conformance {

// The tokens of `num_rows` sequences: `prompt`, then `output`, then room for `room` more.
inline HostTensor MakeHistory(int64_t num_rows,
                              const std::vector<int64_t>& prompt,
                              const std::vector<int64_t>& output,
                              int64_t room = 1) {
  std::vector<int64_t> tokens = prompt;
  tokens.insert(tokens.end(), output.begin(), output.end());
  // What is behind them is not to be read.
  tokens.resize(tokens.size() + static_cast<size_t>(room), 2);
  HostTensor history(DType::kI32, {num_rows, std::ssize(tokens)});
  for (int64_t i = 0; i < history.num_elements(); ++i) {
    history.Set(i, static_cast<double>(tokens[static_cast<size_t>(i) % tokens.size()]));
  }
  return history;
}

// A mask with the bits of the ids for which `is_allowed` holds.
template <typename IsAllowed>
std::vector<uint32_t> MakeMask(int64_t vocab_size, IsAllowed is_allowed) {
  std::vector<uint32_t> mask(static_cast<size_t>(kernels::MaskWords(vocab_size)));
  for (int64_t id = 0; id < vocab_size; ++id) {
    if (is_allowed(id)) mask[static_cast<size_t>(id / 32)] |= uint32_t{1} << (id % 32);
  }
  return mask;
}

// At most so many biases, from the first id to the last: those of ids that histories may have are
// alike and strong, so that penalties decide; the others are of all strengths.
inline std::vector<TokenBias> MakeBiases(int64_t vocab_size, int64_t max_count) {
  const int64_t count = std::min(vocab_size, max_count);
  std::vector<TokenBias> biases;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t id = count == 1 ? vocab_size - 1 : i * (vocab_size - 1) / (count - 1);
    const auto strength = static_cast<float>(i * 37 % 201 - 100) / 15;
    biases.push_back({static_cast<int32_t>(id), id <= 20 ? 8 : i == 44 ? -100 : strength});
  }
  return biases;
}

class SamplingRows {
 public:
  // `allowed`: the mask of every other row; empty: none has one. `biases`: of two rows in three.
  SamplingRows(int64_t num_rows,
               int64_t vocab_size,
               const SamplingParams& params,
               std::vector<uint32_t> allowed = {},
               std::vector<TokenBias> biases = {})
      : params_(params),
        allowed_(std::move(allowed)),
        biases_(std::move(biases)),
        // Some of a small vocabulary, and an id that it does not have.
        history_(MakeHistory(num_rows, {0, 3, 3, 11, vocab_size}, {3, 5, 5, 5, 20})) {
    for (int64_t i = 0; i < num_rows; ++i) {
      kernels::SampleRow row;
      row.params = &params_;
      row.key = {.seed = 12345, .choice = 2, .attempt = 1, .position = static_cast<uint32_t>(i)};
      if (i % 3 != 1) row.biases = &biases_;
      // One token alone must stay; and where there are biases, some rows have nothing else.
      if (vocab_size > 8 && (biases_.empty() || i % 6 != 5)) row.suppressed_ids = &suppressed_ids_;
      if (!allowed_.empty() && i % 2 == 0) row.allowed = &allowed_;
      row.history_row = static_cast<int32_t>(num_rows - 1 - i);
      row.prompt_len = 5;
      row.output_len = 5;
      rows_.push_back(row);
    }
  }
  SamplingRows(const SamplingRows&) = delete;
  SamplingRows& operator=(const SamplingRows&) = delete;

  const std::vector<kernels::SampleRow>& rows() const { return rows_; }
  const HostTensor& history() const { return history_; }

 private:
  SamplingParams params_;
  const std::vector<uint32_t> allowed_;
  const std::vector<TokenBias> biases_;
  const std::vector<int32_t> suppressed_ids_ = {1, 7};
  HostTensor history_;
  std::vector<kernels::SampleRow> rows_;
};

}  // namespace longhand::conformance
