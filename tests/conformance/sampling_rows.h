// Rows for Sample: one set of parameters, a key for each row, and a history that penalties count.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops.h"

namespace longhand::conformance {

class SamplingRows {
 public:
  SamplingRows(int64_t num_rows, int64_t vocab_size, const SamplingParams& params)
      : params_(params),
        // Some of a small vocabulary, and an id that it does not have.
        prompt_{0, 3, 3, 11, static_cast<int32_t>(vocab_size)},
        output_{3, 5, 5, 5, 20} {
    params_.stop_token_ids = {1, 7};
    for (int64_t i = 0; i < num_rows; ++i) {
      kernels::SampleRow row;
      row.params = &params_;
      row.key = {.seed = 12345, .choice = 2, .attempt = 1, .position = static_cast<uint32_t>(i)};
      // One token alone must stay.
      row.suppress_stop_ids = vocab_size > 8;
      row.prompt_token_ids = &prompt_;
      row.output_token_ids = &output_;
      rows_.push_back(row);
    }
  }
  SamplingRows(const SamplingRows&) = delete;
  SamplingRows& operator=(const SamplingRows&) = delete;

  const std::vector<kernels::SampleRow>& rows() const { return rows_; }

 private:
  SamplingParams params_;
  std::vector<int32_t> prompt_, output_;
  std::vector<kernels::SampleRow> rows_;
};

}  // namespace longhand::conformance
