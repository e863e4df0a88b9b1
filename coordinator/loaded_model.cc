#include "coordinator/loaded_model.h"

#include "coordinator/api/checkpoint_digest.h"
#include "coordinator/settings.h"

namespace longhand {

Result<LoadedModel> LoadedModel::Load(const ServeOptions& options) {
  LONGHAND_ASSIGN_OR_RETURN(ModelConfig config, ModelConfig::Load(options.model));
  LONGHAND_ASSIGN_OR_RETURN(input::PixelPolicy pixels, PixelsOf(options, config));
  LONGHAND_ASSIGN_OR_RETURN(shim::Tokenizer tokenizer, shim::Tokenizer::Load(options.model));
  LONGHAND_ASSIGN_OR_RETURN(shim::ChatTemplate chat_template,
                            shim::ChatTemplate::Load(options.model));
  LONGHAND_ASSIGN_OR_RETURN(std::string digest, api::CheckpointDigest(options.model));
  return LoadedModel{std::move(config), pixels, std::move(tokenizer), std::move(chat_template),
                     std::move(digest)};
}

}  // namespace longhand
