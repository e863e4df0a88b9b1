// GrpcLog: what gRPC itself has to say, which it would write to standard error in a form of its
// own.
#pragma once

#include <string_view>

namespace longhand {

// From now on `take` gets gRPC's errors, from any thread; null drops them. Whoever sets
// GRPC_VERBOSITY has them as gRPC writes them. One at a time.
class GrpcLog {
 public:
  using Take = void (*)(std::string_view message);

  explicit GrpcLog(Take take);
  ~GrpcLog();  // What comes later is dropped.
  GrpcLog(const GrpcLog&) = delete;
  GrpcLog& operator=(const GrpcLog&) = delete;
};

}  // namespace longhand
