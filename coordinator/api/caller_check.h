// What a gRPC call's metadata say: whether it brings a key that may call.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>
#include <string_view>

#include "common/status.h"
#include "coordinator/api/api_keys.h"

namespace longhand::api {

// Empty when there is none of the name.
inline std::string_view FindMetadata(const grpc::CallbackServerContext& context, const char* name) {
  const auto found = context.client_metadata().find(name);
  if (found == context.client_metadata().end()) return {};
  return {found->second.data(), found->second.size()};
}

// The key's name, from the metadata `authorization`: "Bearer KEY", as in HTTP. Errors as
// ApiKeys::Check.
inline Result<std::string> NameOfCaller(const ApiKeys& keys,
                                        const grpc::CallbackServerContext& context) {
  return keys.Check(FindMetadata(context, "authorization"));
}

inline Status CheckCaller(const ApiKeys& keys, const grpc::CallbackServerContext& context) {
  return NameOfCaller(keys, context).status();
}

}  // namespace longhand::api
