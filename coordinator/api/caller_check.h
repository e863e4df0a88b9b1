// Whether a gRPC call brings a key that may call.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>
#include <string_view>

#include "common/status.h"
#include "coordinator/api/api_keys.h"

namespace longhand::api {

// The key's name, from the metadata `authorization`: "Bearer KEY", as in HTTP. Errors as
// ApiKeys::Check.
inline Result<std::string> NameOfCaller(const ApiKeys& keys,
                                        const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("authorization");
  const std::string_view authorization =
      found == metadata.end() ? std::string_view()
                              : std::string_view(found->second.data(), found->second.size());
  return keys.Check(authorization);
}

inline Status CheckCaller(const ApiKeys& keys, const grpc::CallbackServerContext& context) {
  return NameOfCaller(keys, context).status();
}

}  // namespace longhand::api
