// RequestPreparer: a request from the wire becomes one that the engine trusts.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "common/status.h"
#include "coordinator/api/adapter_table.h"
#include "coordinator/api/constraint_request.h"
#include "coordinator/api/sampling_request.h"
#include "coordinator/engine/request.h"
#include "coordinator/input/image_processor.h"
#include "coordinator/input/prompt_encoder.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::api {

// Immutable; any number of input threads use one at once.
class RequestPreparer {
 public:
  struct Limits {
    std::string served_model_name;
    int64_t max_images = 32;
    // Tokens of prompt and answer that fit now; asked anew for each request.
    std::function<int64_t()> max_model_len;
    std::function<uint64_t()> draw_seed;
    // By name: kNotFound for one that is not loaded. Empty: there are none.
    std::function<Result<AdapterTable::Held>(const std::string& name)> find_adapter;
    CompileConstraint compile_constraint;
  };

  RequestPreparer(const ModelConfig& model,
                  const input::PromptEncoder& encoder,
                  const input::ImageProcessor& images,
                  Limits limits)
      : model_(model), encoder_(encoder), images_(images), limits_(std::move(limits)) {}

  // Everything but request_id and deadline. Errors name the field or the image's index. `adapter`:
  // what the caller has found for the request's model; null: it is looked for.
  Result<engine::Request> Prepare(const v1::GenerateRequest& wire,
                                  AdapterTable::Held adapter = nullptr) const;
  // kInvalidArgument for more than are allowed.
  Status CheckNumImages(int64_t num_images) const;
  // `sampling` with every default filled in and the seed drawn, but for max_tokens, which is of a
  // prompt. kInvalidArgument as Prepare.
  Result<v1::Sampling> ResolveSampling(const v1::Sampling& sampling) const;
  // kNotFound unless `name` is empty, the served model's or an adapter's.
  Status CheckModel(const std::string& name) const { return FindModel(name).status(); }
  // The same; null for the model itself.
  Result<AdapterTable::Held> FindModel(const std::string& name) const;
  const std::string& served_model_name() const { return limits_.served_model_name; }
  int64_t max_model_len() const { return limits_.max_model_len(); }
  int64_t vocab_size() const { return model_.vocab_size; }

 private:
  Result<std::vector<input::PreparedImage>> PrepareImages(const v1::GenerateRequest& wire) const;
  Status SetPrompt(std::vector<int32_t> token_ids,
                   std::vector<input::PreparedImage> images,
                   engine::Request* request) const;
  Status SetLength(const v1::GenerateRequest& wire,
                   const SamplingRequest& sampling,
                   engine::Request* request) const;
  static void SetSampling(SamplingRequest sampling, engine::Request* request);

  const ModelConfig& model_;
  const input::PromptEncoder& encoder_;
  const input::ImageProcessor& images_;
  const Limits limits_;
};

}  // namespace longhand::api
