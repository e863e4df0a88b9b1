// The Cluster service: what operators ask.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>

#include "coordinator/api/caller_check.h"
#include "longhand/v1/cluster.grpc.pb.h"
#include "proto/grpc_status.h"

namespace longhand::api {

// Any gRPC thread.
class ClusterService final : public v1::Cluster::CallbackService {
 public:
  struct Callbacks {
    // Neither waits; what they are given is called once, from any thread.
    std::function<void(std::function<void(const v1::GetStatusResponse&)> answer)> get_status;
    std::function<void(std::function<void()> on_idle)> drain;
    using Done = std::function<void(const Status&)>;
    std::function<void(const std::string& name, const std::string& directory, Done)> load_adapter;
    std::function<void(const std::string& name, Done)> unload_adapter;
  };
  ClusterService(Callbacks callbacks, const ApiKeys& keys)
      : callbacks_(std::move(callbacks)), keys_(keys) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const v1::GetStatusRequest*,
                                      v1::GetStatusResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (const Status status = CheckCaller(keys_, *context); !status.ok()) {
      reactor->Finish(ToGrpc(status));
      return reactor;
    }
    callbacks_.get_status([reactor, response](const v1::GetStatusResponse& status) {
      *response = status;
      reactor->Finish(grpc::Status::OK);
    });
    return reactor;
  }

  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const v1::DrainRequest*,
                                  v1::DrainResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (const Status status = CheckCaller(keys_, *context); !status.ok()) {
      reactor->Finish(ToGrpc(status));
      return reactor;
    }
    callbacks_.drain([reactor] { reactor->Finish(grpc::Status::OK); });
    return reactor;
  }

  grpc::ServerUnaryReactor* LoadAdapter(grpc::CallbackServerContext* context,
                                        const v1::LoadAdapterRequest* request,
                                        v1::LoadAdapterResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (const Status status = CheckCaller(keys_, *context); !status.ok()) {
      reactor->Finish(ToGrpc(status));
      return reactor;
    }
    callbacks_.load_adapter(request->name(), request->directory(),
                            [reactor](const Status& status) { reactor->Finish(ToGrpc(status)); });
    return reactor;
  }

  grpc::ServerUnaryReactor* UnloadAdapter(grpc::CallbackServerContext* context,
                                          const v1::UnloadAdapterRequest* request,
                                          v1::UnloadAdapterResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (const Status status = CheckCaller(keys_, *context); !status.ok()) {
      reactor->Finish(ToGrpc(status));
      return reactor;
    }
    callbacks_.unload_adapter(request->name(),
                              [reactor](const Status& status) { reactor->Finish(ToGrpc(status)); });
    return reactor;
  }

 private:
  const Callbacks callbacks_;
  const ApiKeys& keys_;
};

}  // namespace longhand::api
