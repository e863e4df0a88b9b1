// The store by which ranks on several hosts find each other.
#pragma once

#include <grpcpp/grpcpp.h>

#include <map>
#include <mutex>
#include <string>

#include "longhand/worker/v1/worker.grpc.pb.h"

namespace longhand::cluster {

// Any gRPC thread. Holds a bounded number of small values; an epoch's go when its group is formed
// anew.
class RendezvousService final : public worker::v1::Rendezvous::CallbackService {
 public:
  grpc::ServerUnaryReactor* SetValue(grpc::CallbackServerContext* context,
                                     const worker::v1::SetValueRequest* request,
                                     worker::v1::SetValueResponse* response) override;
  grpc::ServerUnaryReactor* GetValue(grpc::CallbackServerContext* context,
                                     const worker::v1::GetValueRequest* request,
                                     worker::v1::GetValueResponse* response) override;
  // Forgets what this group's ranks have set: keys name group and epoch, so nobody asks for the old
  // ones again.
  void Clear(const std::string& group_name);

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> values_;
};

}  // namespace longhand::cluster
