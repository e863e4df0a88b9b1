#include "coordinator/api/adapter_table.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <future>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

#include "common/adapter/adapter_files.h"
#include "coordinator/api/checkpoint_digest.h"

namespace longhand::api {
namespace {

constexpr size_t kMaxNameBytes = 128;

bool IsNameCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::strchr("._:/-", c) != nullptr;
}

}  // namespace

struct AdapterTable::State {
  struct Slot {
    bool is_taken = false;
    std::vector<Done> on_free;
  };
  struct Entry {
    Held adapter;
    bool is_placed = false;  // until then requests do not find it
  };

  // Of an adapter that nobody holds any more. It is forgotten before another one may have the slot.
  void Free(int32_t slot) {
    std::vector<Done> waiters;
    std::function<void(int32_t)> tell;
    {
      std::lock_guard lock(mutex);
      tell = vacate;
    }
    if (tell) tell(slot);
    {
      std::lock_guard lock(mutex);
      slots[static_cast<size_t>(slot)].is_taken = false;
      waiters = std::exchange(slots[static_cast<size_t>(slot)].on_free, {});
    }
    for (const Done& done : waiters) done(OkStatus());
  }

  mutable std::mutex mutex;
  std::map<std::string, Entry, std::less<>> by_name;
  std::vector<std::weak_ptr<const engine::Adapter>> unnamed;  // of slots that are taken
  std::vector<Slot> slots;
  int64_t next_load_id = 1;
  std::function<void(int32_t)> vacate;  // empty once the table has gone
};

AdapterTable::AdapterTable(Parts parts)
    : parts_(std::move(parts)), state_(std::make_shared<State>()) {
  state_->slots.resize(static_cast<size_t>(parts_.max_loras));
  state_->vacate = parts_.vacate;
}

AdapterTable::~AdapterTable() {
  std::map<std::string, State::Entry, std::less<>> last;  // goes when the lock has
  std::lock_guard lock(state_->mutex);
  state_->vacate = nullptr;
  last.swap(state_->by_name);
}

Status AdapterTable::CheckName(const std::string& name) const {
  if (name.empty() || name.size() > kMaxNameBytes ||
      !std::all_of(name.begin(), name.end(), IsNameCharacter)) {
    return InvalidArgument("an adapter's name has ", name.size(), " bytes; it must be 1 to ",
                           kMaxNameBytes, " of [A-Za-z0-9._:/-]");
  }
  if (name == parts_.served_model_name) {
    return InvalidArgument("'", name, "' is the model's name; an adapter needs another one");
  }
  return OkStatus();
}

void AdapterTable::Load(const std::string& name,
                        const std::filesystem::path& directory,
                        Done done) {
  Place(name, directory, /*restored=*/"",
        [done = std::move(done)](const Result<Held>& placed) { done(placed.status()); });
}

void AdapterTable::Place(const std::string& name,
                         const std::filesystem::path& directory,
                         const std::string& restored,
                         std::function<void(Result<Held>)> done) {
  if (const Status status = CheckName(name); !status.ok()) return done(status);
  if (parts_.max_loras == 0) {
    return done(FailedPrecondition(
        "there is no room for adapters; start the server with --max-loras or --lora-modules"));
  }
  const Result<AdapterFiles> files =
      AdapterFiles::Open(directory, parts_.model, parts_.max_lora_rank);
  if (!files.ok()) return done(files.status().WithContext("adapter '" + name + "'"));
  Result<std::string> digest = CheckpointDigest(directory);
  if (!digest.ok()) return done(digest.status().WithContext("adapter '" + name + "'"));
  if (!restored.empty() && *digest != restored) {
    return done(FailedPrecondition("the adapter '", name, "' in ", directory.string(),
                                   " is another one than the request was begun with"));
  }
  Held adapter;
  {
    std::lock_guard lock(state_->mutex);
    const bool is_named = !state_->by_name.contains(name);
    if (!is_named && restored.empty()) {
      return done(Status(StatusCode::kAlreadyExists,
                         "an adapter '" + name + "' is loaded already; unload it first"));
    }
    auto& slots = state_->slots;
    const auto free = std::find_if(slots.begin(), slots.end(),
                                   [](const State::Slot& slot) { return !slot.is_taken; });
    if (free == slots.end()) {
      return done(ResourceExhausted(slots.size(), " adapters are loaded or still in use; at most ",
                                    slots.size(), " are held at once (--max-loras)"));
    }
    free->is_taken = true;
    auto* loaded = new engine::Adapter{.name = name,
                                       .directory = std::filesystem::absolute(directory).string(),
                                       .digest = *digest,
                                       .load_id = state_->next_load_id++,
                                       .slot = static_cast<int32_t>(free - slots.begin()),
                                       .changes_images = files->changes_images()};
    adapter = Held(loaded, [state = state_](const engine::Adapter* last) {
      const int32_t slot = last->slot;
      delete last;
      state->Free(slot);
    });
    if (is_named) {
      state_->by_name[name] = {adapter};
    } else {
      std::erase_if(state_->unnamed, [](const auto& each) { return each.expired(); });
      state_->unnamed.push_back(adapter);
    }
  }
  parts_.place(*adapter, [this, adapter, done = std::move(done)](const Status& status) {
    State::Entry failed;
    size_t num_loaded = 0;
    {
      std::lock_guard lock(state_->mutex);
      const auto entry = state_->by_name.find(adapter->name);
      if (entry != state_->by_name.end() && entry->second.adapter == adapter) {
        if (status.ok()) {
          entry->second.is_placed = true;
        } else {
          failed = std::move(entry->second);
          state_->by_name.erase(entry);
        }
      }
      num_loaded = state_->by_name.size();
    }
    parts_.metrics.GetGauge("longhand_adapters_loaded").Set(static_cast<double>(num_loaded));
    done(status.ok() ? Result<Held>(adapter) : Result<Held>(status));
  });
}

void AdapterTable::Unload(const std::string& name, Done done) {
  State::Entry entry;
  size_t num_loaded = 0;
  {
    std::lock_guard lock(state_->mutex);
    const auto found = state_->by_name.find(name);
    if (found != state_->by_name.end() && found->second.is_placed) {
      entry = std::move(found->second);
      state_->by_name.erase(found);
      state_->slots[static_cast<size_t>(entry.adapter->slot)].on_free.push_back(std::move(done));
    }
    num_loaded = state_->by_name.size();
  }
  if (entry.adapter == nullptr) return done(NotFound("no adapter '", name, "' is loaded"));
  parts_.metrics.GetGauge("longhand_adapters_loaded").Set(static_cast<double>(num_loaded));
}

void AdapterTable::Stop() {
  std::vector<Done> waiters;
  {
    std::lock_guard lock(state_->mutex);
    for (State::Slot& slot : state_->slots) {
      std::move(slot.on_free.begin(), slot.on_free.end(), std::back_inserter(waiters));
      slot.on_free.clear();
    }
  }
  for (const Done& done : waiters) done(Unavailable("the coordinator is stopping"));
}

Result<AdapterTable::Held> AdapterTable::PlaceAndWait(const std::string& name,
                                                      const std::filesystem::path& directory,
                                                      const std::string& restored) {
  std::promise<Result<Held>> result;
  Place(name, directory, restored,
        [&](Result<Held> placed) { result.set_value(std::move(placed)); });
  return result.get_future().get();
}

Status AdapterTable::Add(const std::string& name, const std::filesystem::path& directory) {
  return PlaceAndWait(name, directory, /*restored=*/"").status();
}

Result<AdapterTable::Held> AdapterTable::Restore(const std::string& name,
                                                 const std::filesystem::path& directory,
                                                 const std::string& digest) {
  const Result<Held> named = Find(name);
  if (named.ok() && (*named)->digest == digest) return named;
  std::vector<Held> unnamed;  // go when the lock has
  {
    std::lock_guard lock(state_->mutex);
    for (const auto& each : state_->unnamed) unnamed.push_back(each.lock());
  }
  for (const Held& held : unnamed)
    if (held != nullptr && held->name == name && held->digest == digest) return held;
  return PlaceAndWait(name, directory, digest);
}

Result<AdapterTable::Held> AdapterTable::Find(std::string_view name) const {
  std::lock_guard lock(state_->mutex);
  const auto found = state_->by_name.find(name);
  if (found == state_->by_name.end() || !found->second.is_placed) {
    return NotFound("no adapter '", name, "' is loaded");
  }
  return found->second.adapter;
}

std::vector<AdapterTable::Held> AdapterTable::List() const {
  std::vector<Held> all;
  std::lock_guard lock(state_->mutex);
  for (const auto& [name, entry] : state_->by_name) {
    if (entry.is_placed) all.push_back(entry.adapter);
  }
  return all;
}

}  // namespace longhand::api
