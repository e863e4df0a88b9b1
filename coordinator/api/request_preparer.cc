#include "coordinator/api/request_preparer.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <memory>
#include <utility>

#include "common/digest/digest.h"
#include "coordinator/api/answer_room.h"
#include "coordinator/api/prompt_logprobs.h"
#include "coordinator/api/request_record.h"
#include "coordinator/input/placeholders.h"
#include "coordinator/input/positions.h"

namespace longhand::api {
namespace {

Result<input::PromptInput> ReadPrompt(const v1::GenerateRequest& wire) {
  switch (wire.input_case()) {
    case v1::GenerateRequest::kText:
      return input::PromptInput(input::TextPrompt{wire.text()});
    case v1::GenerateRequest::kTokenIds:
      return input::PromptInput(
          input::TokenPrompt{{wire.token_ids().ids().begin(), wire.token_ids().ids().end()}});
    case v1::GenerateRequest::kMessages:
      break;
    case v1::GenerateRequest::INPUT_NOT_SET:
      return InvalidArgument("the request has no input; give messages, text or token_ids");
  }
  input::ChatPrompt chat{.add_vision_id = wire.messages().add_vision_id()};
  for (const v1::ChatMessage& message : wire.messages().messages()) {
    input::ChatMessage& out = chat.messages.emplace_back();
    out.role = message.role();
    for (const v1::ContentPart& part : message.content()) {
      if (part.part_case() == v1::ContentPart::PART_NOT_SET) {
        return InvalidArgument("message ", chat.messages.size() - 1,
                               " has a content part that is neither a text nor an image")
            .About("messages");
      }
      out.parts.push_back({.is_image = part.has_image(), .text = part.text()});
    }
  }
  return input::PromptInput(std::move(chat));
}

// What a picture becomes by an adapter of the image encoder is another picture to all caches.
void SetAdapter(AdapterTable::Held adapter, engine::Request* request) {
  for (engine::ImageInput& image : request->images) {
    if (!adapter->changes_images) break;
    Digest digest;
    digest.Add({reinterpret_cast<const char*>(image.hash.data()), image.hash.size()});
    digest.Add(std::to_string(adapter->load_id));
    const std::string bytes = digest.Finish();
    std::memcpy(image.hash.data(), bytes.data(), image.hash.size());
    image.adapter = adapter->slot;
  }
  request->adapter = std::move(adapter);
}

Status CheckCacheSalt(const std::string& salt) {
  constexpr size_t kMaxBytes = 128;
  const auto is_allowed = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("._:-", c) != nullptr;
  };
  if (salt.size() <= kMaxBytes && std::all_of(salt.begin(), salt.end(), is_allowed))
    return OkStatus();
  return InvalidField("cache_salt", " has ", salt.size(), " bytes; it must be at most ", kMaxBytes,
                      " of [A-Za-z0-9._:-]");
}

}  // namespace

Result<engine::Request> RequestPreparer::Prepare(const v1::GenerateRequest& wire,
                                                 AdapterTable::Held adapter) const {
  if (adapter == nullptr) {
    LONGHAND_ASSIGN_OR_RETURN(adapter, FindModel(wire.model()));
  }
  LONGHAND_ASSIGN_OR_RETURN(SamplingRequest sampling,
                            ParseSampling(wire.sampling(), wire.return_(), model_.generation,
                                          model_.vocab_size, limits_.draw_seed));
  LONGHAND_RETURN_IF_ERROR(CheckNumImages(wire.images_size()));
  LONGHAND_ASSIGN_OR_RETURN(const input::PromptInput prompt, ReadPrompt(wire));
  LONGHAND_ASSIGN_OR_RETURN(std::vector<int32_t> token_ids,
                            encoder_.Encode(prompt, static_cast<size_t>(wire.images_size())));
  LONGHAND_ASSIGN_OR_RETURN(std::vector<input::PreparedImage> images, PrepareImages(wire));
  engine::Request request;
  LONGHAND_RETURN_IF_ERROR(SetPrompt(std::move(token_ids), std::move(images), &request));
  if (adapter != nullptr) SetAdapter(std::move(adapter), &request);
  LONGHAND_RETURN_IF_ERROR(SetLength(wire, sampling, &request));
  SetSampling(std::move(sampling), &request);
  LONGHAND_ASSIGN_OR_RETURN(request.constraint,
                            ParseConstraint(wire.constraint(), limits_.compile_constraint));
  LONGHAND_RETURN_IF_ERROR(SetPromptLogprobs(wire.return_(), &request));
  if (wire.priority() < engine::kMinPriority || wire.priority() > engine::kMaxPriority) {
    return InvalidField("priority", " is ", wire.priority(), "; it must be from ",
                        engine::kMinPriority, " to ", engine::kMaxPriority);
  }
  request.priority = wire.priority();
  if (!v1::OnDisconnect_IsValid(wire.on_disconnect())) {
    return InvalidField("on_disconnect", " is ", wire.on_disconnect(), "; it must be from 0 to ",
                        v1::OnDisconnect_MAX);
  }
  request.cache_salt = wire.cache_salt();
  LONGHAND_RETURN_IF_ERROR(CheckCacheSalt(wire.cache_salt()));
  request.tenant = wire.cache_salt();
  return request;
}

Status RequestPreparer::CheckNumImages(int64_t num_images) const {
  if (num_images <= limits_.max_images) return OkStatus();
  return InvalidArgument("the request has ", num_images, " images; at most ", limits_.max_images,
                         " are allowed")
      .About("messages");
}

Result<v1::Sampling> RequestPreparer::ResolveSampling(const v1::Sampling& sampling) const {
  LONGHAND_ASSIGN_OR_RETURN(
      const SamplingRequest parsed,
      ParseSampling(sampling, {}, model_.generation, model_.vocab_size, limits_.draw_seed));
  v1::Sampling resolved = sampling;
  api::SetSampling(parsed.params, &resolved);
  return resolved;
}

Result<AdapterTable::Held> RequestPreparer::FindModel(const std::string& name) const {
  if (name.empty() || name == limits_.served_model_name) return AdapterTable::Held();
  if (limits_.find_adapter) {
    Result<AdapterTable::Held> adapter = limits_.find_adapter(name);
    if (adapter.ok()) return adapter;
  }
  return NotFound("the model '", name, "' is not served here; '", limits_.served_model_name, "' is",
                  limits_.find_adapter ? ", and its adapters are that /v1/models lists" : "")
      .About("model");
}

Result<std::vector<input::PreparedImage>> RequestPreparer::PrepareImages(
    const v1::GenerateRequest& wire) const {
  std::vector<input::PreparedImage> images;
  for (const v1::Image& image : wire.images()) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(image.data().data());
    Result<input::PreparedImage> prepared = images_.Process({bytes, image.data().size()});
    if (!prepared.ok())
      return prepared.status()
          .WithContext("image " + std::to_string(images.size()))
          .About("messages");
    images.push_back(std::move(prepared).value());
  }
  return images;
}

Status RequestPreparer::SetPrompt(std::vector<int32_t> token_ids,
                                  std::vector<input::PreparedImage> images,
                                  engine::Request* request) const {
  std::vector<int64_t> num_tokens;
  std::vector<input::TokenGrid> grids;
  for (const input::PreparedImage& image : images) {
    num_tokens.push_back(image.grid.num_tokens());
    grids.push_back(image.grid);
  }
  LONGHAND_ASSIGN_OR_RETURN(
      input::PlacedPrompt placed,
      input::ExpandPlaceholders(std::move(token_ids), model_.image_token_id, num_tokens));
  input::PromptPositions positions =
      input::ComputePositions(static_cast<int64_t>(placed.token_ids.size()), placed.images, grids);
  for (size_t i = 0; i < images.size(); ++i) {
    input::RgbImage& pixels = images[i].image;
    request->images.push_back(
        {.hash = images[i].hash,
         .offset = static_cast<int32_t>(placed.images[i].offset),
         .num_tokens = static_cast<int32_t>(placed.images[i].num_tokens),
         .num_patches = static_cast<int32_t>(images[i].num_patches),
         .height = pixels.height,
         .width = pixels.width,
         .pixels = std::make_shared<const std::vector<uint8_t>>(std::move(pixels.pixels))});
  }
  request->token_ids = std::move(placed.token_ids);
  request->positions = std::move(positions.positions);
  request->rope_delta = positions.rope_delta;
  return OkStatus();
}

Status RequestPreparer::SetLength(const v1::GenerateRequest& wire,
                                  const SamplingRequest& sampling,
                                  engine::Request* request) const {
  LONGHAND_ASSIGN_OR_RETURN(
      request->max_tokens,
      MaxTokensFor({.num_prompt_tokens = request->num_prompt_tokens(),
                    .max_model_len = limits_.max_model_len(),
                    .max_tokens = sampling.max_tokens,
                    .target_words = wire.length().target_words(),
                    .is_chinese = wire.length().target_words() > 0 && AsksInChinese(wire)}));
  if (sampling.min_tokens > request->max_tokens) {
    return InvalidField("min_tokens", " is ", sampling.min_tokens,
                        "; it must be at most max_tokens, which is ", request->max_tokens,
                        " when the request does not say");
  }
  request->min_tokens = sampling.min_tokens;
  request->target_words = wire.length().target_words();
  return OkStatus();
}

void RequestPreparer::SetSampling(SamplingRequest sampling, engine::Request* request) {
  request->sampling = std::move(sampling.params);
  request->biases = std::move(sampling.biases);
  request->stop_token_ids = std::move(sampling.stop_token_ids);
  request->ignore_eos = sampling.ignore_eos;
  request->num_choices = sampling.num_choices;
  request->stop_strings = std::move(sampling.stop_strings);
  request->repetition_guard = sampling.repetition_guard;
}

}  // namespace longhand::api
