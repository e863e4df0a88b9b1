// AdapterTable: the LoRA adapters that requests may name, and which slot of the workers' memory
// each has.
//
// A request holds its adapter from preparation until the last step that names it has run. An
// adapter that is unloaded is found no more, and its slot is free when nobody holds it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/model_config.h"
#include "common/metrics.h"
#include "common/status.h"
#include "coordinator/engine/adapter.h"

namespace longhand::api {

// Any thread.
class AdapterTable {
 public:
  using Held = std::shared_ptr<const engine::Adapter>;
  using Done = std::function<void(const Status&)>;
  struct Parts {
    const ModelConfig& model;
    std::string served_model_name;
    int64_t max_loras = 0;
    int64_t max_lora_rank = 0;
    Metrics& metrics;
    // Has every rank read the adapter, those of groups that form later too; does not wait, and
    // calls `done` once, from any thread.
    std::function<void(const engine::Adapter&, Done done)> place;
    // No rank needs what is in the slot any more.
    std::function<void(int32_t slot)> vacate;
  };

  explicit AdapterTable(Parts parts);
  // Adapters that are still held then go without a word.
  ~AdapterTable();

  // Reads the adapter's files, and waits until it may be named: for those of the command line.
  // Errors as Load().
  Status Add(const std::string& name, const std::filesystem::path& directory);
  // The adapter of an earlier coordinator's request, which is loaded if it is not there; waits. If
  // another one has the name, it is there for those alone who hold it. kFailedPrecondition when the
  // directory holds one of another digest, else errors as Load().
  Result<Held> Restore(const std::string& name,
                       const std::filesystem::path& directory,
                       const std::string& digest);

  // Reads the adapter's files and has it placed; `done` comes once, from any thread, when requests
  // may name it. Input thread. kInvalidArgument for a name or files that cannot be, kNotFound
  // without files, kAlreadyExists for a name that is taken, kResourceExhausted when no slot is
  // free.
  void Load(const std::string& name, const std::filesystem::path& directory, Done done);
  // From here on the adapter is not found; `done` comes when the last request that holds it has
  // ended. kNotFound at once.
  void Unload(const std::string& name, Done done);

  // Whoever waits for an adapter to be unloaded is told kUnavailable.
  void Stop();

  // kNotFound.
  Result<Held> Find(std::string_view name) const;
  std::vector<Held> List() const;  // by name
  int64_t max_loras() const { return parts_.max_loras; }

 private:
  struct State;

  // `restored` is the digest of an adapter that is restored; empty: the name must be free.
  void Place(const std::string& name,
             const std::filesystem::path& directory,
             const std::string& restored,
             std::function<void(Result<Held>)> done);
  Result<Held> PlaceAndWait(const std::string& name,
                            const std::filesystem::path& directory,
                            const std::string& restored);
  Status CheckName(const std::string& name) const;

  const Parts parts_;
  const std::shared_ptr<State> state_;  // with adapters that are held, which may outlive this
};

}  // namespace longhand::api
