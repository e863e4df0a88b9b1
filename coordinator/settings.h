// The parts' settings, from the coordinator's options.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/config/model_config.h"
#include "common/options/serve_options.h"
#include "common/status.h"
#include "coordinator/api/api_keys.h"
#include "coordinator/engine/config.h"
#include "coordinator/http/gateway.h"
#include "coordinator/input/pixel_policy.h"
#include "coordinator/journal/journal.h"
#include "coordinator/journal/store.h"

namespace longhand {

Result<input::PixelPolicy> PixelsOf(const ServeOptions& options, const ModelConfig& config);
int64_t LargestPicture(const input::PixelPolicy& pixels, const VisionConfig& vision);
engine::EngineConfig MakeEngineConfig(const ServeOptions& options, const ModelConfig& model);
std::string JournalDirectory(const ServeOptions& options);  // empty: none
journal::JournalConfig MakeJournalConfig(const ServeOptions& options);
// Null for none. Errors as journal::Store::Open.
Result<std::unique_ptr<journal::Store>> OpenJournal(const ServeOptions& options);
Result<api::ApiKeys> LoadKeys(const ServeOptions& options);
http::GatewayConfig MakeGatewayConfig(const ServeOptions& options);

}  // namespace longhand
