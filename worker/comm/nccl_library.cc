#include "worker/comm/nccl_library.h"

#include <dlfcn.h>

#include "common/shared_library.h"

namespace longhand::comm {
namespace {

// Non-blocking communicators and abort in every state.
constexpr int kOldest = 21800;

std::string VersionText(int version) {
  return std::to_string(version / 10'000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

class Symbols {
 public:
  explicit Symbols(void* library) : library_(library) {}

  template <typename Function>
  void Find(const char* name, Function** function) {
    *function = reinterpret_cast<Function*>(dlsym(library_, name));
    if (*function == nullptr && missing_.empty()) missing_ = name;
  }
  const std::string& missing() const { return missing_; }

 private:
  void* library_;
  std::string missing_;
};

}  // namespace

Result<NcclLibrary> NcclLibrary::Load(const std::string& path) {
  const std::string file = path.empty() ? "libnccl.so.2" : path;
  // Never unloaded: its threads may outlive a communicator.
  const Result<void*> handle =
      path.empty() ? LoadNvidiaLibrary({file}, {"nccl"}) : LoadSharedLibrary({file}, {});
  if (!handle.ok()) {
    return Unimplemented("ranks on GPUs need NCCL, and it cannot be loaded (",
                         handle.status().message(),
                         "); install it, or name its folder in LD_LIBRARY_PATH");
  }
  NcclLibrary library;
  nccl::Api& api = library.api_;
  Symbols symbols(*handle);
  symbols.Find("ncclGetVersion", &api.GetVersion);
  symbols.Find("ncclGetErrorString", &api.GetErrorString);
  symbols.Find("ncclGetLastError", &api.GetLastError);
  symbols.Find("ncclGetUniqueId", &api.GetUniqueId);
  symbols.Find("ncclCommInitRankConfig", &api.CommInitRankConfig);
  symbols.Find("ncclCommGetAsyncError", &api.CommGetAsyncError);
  symbols.Find("ncclCommAbort", &api.CommAbort);
  symbols.Find("ncclGroupStart", &api.GroupStart);
  symbols.Find("ncclGroupEnd", &api.GroupEnd);
  symbols.Find("ncclSend", &api.Send);
  symbols.Find("ncclRecv", &api.Recv);
  symbols.Find("ncclAllGather", &api.AllGather);
  symbols.Find("ncclBroadcast", &api.Broadcast);
  if (api.GetVersion != nullptr) api.GetVersion(&library.version_);
  if (library.version_ < kOldest || !symbols.missing().empty()) {
    return Unimplemented(file, " is NCCL ", library.version(),
                         symbols.missing().empty() ? "" : " without " + symbols.missing(),
                         "; at least ", VersionText(kOldest), " is needed");
  }
  return library;
}

std::string NcclLibrary::version() const { return VersionText(version_); }

Status NcclLibrary::ToStatus(const char* what, nccl::Result result, nccl::Comm* comm) const {
  if (result == nccl::kSuccess || result == nccl::kInProgress) return OkStatus();
  const char* detail = api_.GetLastError(comm);
  const bool permanent = result == nccl::kInvalidArgument || result == nccl::kInvalidUsage;
  return Status(permanent ? StatusCode::kInvalidArgument : StatusCode::kUnavailable,
                std::string("NCCL ") + version() + ", " + what + ": " +
                    api_.GetErrorString(result) +
                    (detail == nullptr || *detail == '\0' ? "" : std::string(": ") + detail));
}

}  // namespace longhand::comm
