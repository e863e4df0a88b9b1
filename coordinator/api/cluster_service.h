// The Cluster service: what operators ask.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>

#include "longhand/v1/cluster.grpc.pb.h"

namespace longhand::api {

// Any gRPC thread.
class ClusterService final : public v1::Cluster::CallbackService {
 public:
  struct Callbacks {
    std::function<v1::GetStatusResponse()> get_status;          // must not wait
    std::function<void(std::function<void()> on_idle)> drain;  // on_idle is called once, from any thread
  };
  explicit ClusterService(Callbacks callbacks) : callbacks_(std::move(callbacks)) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context, const v1::GetStatusRequest*,
                                      v1::GetStatusResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    *response = callbacks_.get_status();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context, const v1::DrainRequest*,
                                  v1::DrainResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    callbacks_.drain([reactor] { reactor->Finish(grpc::Status::OK); });
    return reactor;
  }

 private:
  const Callbacks callbacks_;
};

}  // namespace longhand::api
