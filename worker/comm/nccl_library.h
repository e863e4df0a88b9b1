// NcclLibrary: libnccl.so.2, loaded at run time.
#pragma once

#include <string>

#include "common/status.h"
#include "worker/comm/nccl_api.h"

namespace longhand::comm {

class NcclLibrary {
 public:
  // `path`: a file, or empty for what the loader finds as libnccl.so.2 (LD_LIBRARY_PATH included),
  // else Python's package of it. Stays loaded. kUnimplemented when there is none, when it is older than 2.18, or when a function
  // is missing.
  static Result<NcclLibrary> Load(const std::string& path);

  const nccl::Api& api() const { return api_; }
  std::string version() const;  // "2.30.7"

  // OK for kSuccess and kInProgress. What the configuration causes is kInvalidArgument, so that
  // nobody tries again; all else kUnavailable. The message has the library's own words; `comm` may
  // be null.
  Status ToStatus(const char* what, nccl::Result result, nccl::Comm* comm) const;

 private:
  NcclLibrary() = default;

  nccl::Api api_;
  int version_ = 0;
};

}  // namespace longhand::comm
