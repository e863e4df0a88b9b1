// WorkerService: the worker's side of longhand.worker.v1. Checks the wire, and hands over to the
// executor.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "longhand/worker/v1/worker.grpc.pb.h"
#include "worker/service/executor.h"
#include "worker/service/steady_timer.h"

namespace longhand::service {

// gRPC's threads; nothing waits.
class WorkerService final : public worker::v1::Worker::CallbackService {
 public:
  // `executor` must outlive the service. `metrics_address` is where this worker's metrics are read.
  WorkerService(Executor& executor, std::string metrics_address);

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context,
                                     const worker::v1::DescribeRequest* request,
                                     worker::v1::DescribeResponse* response) override;
  grpc::ServerWriteReactor<worker::v1::Pulse>* Watch(
      grpc::CallbackServerContext* context, const worker::v1::WatchRequest* request) override;
  grpc::ServerUnaryReactor* Prepare(grpc::CallbackServerContext* context,
                                    const worker::v1::ConfigureRequest* request,
                                    worker::v1::PrepareResponse* response) override;
  grpc::ServerWriteReactor<worker::v1::ConfigureProgress>* Configure(
      grpc::CallbackServerContext* context, const worker::v1::ConfigureRequest* request) override;
  grpc::ServerUnaryReactor* LoadAdapter(grpc::CallbackServerContext* context,
                                        const worker::v1::LoadAdapterRequest* request,
                                        worker::v1::LoadAdapterResponse* response) override;
  grpc::ServerUnaryReactor* PutImage(grpc::CallbackServerContext* context,
                                     const worker::v1::PutImageRequest* request,
                                     worker::v1::PutImageResponse* response) override;
  grpc::ServerBidiReactor<worker::v1::ExecuteStepRequest, worker::v1::ExecuteStepResponse>*
  ExecuteSteps(grpc::CallbackServerContext* context) override;

 private:
  worker::v1::DescribeResponse Description() const;
  Status PutImage(const worker::v1::PutImageRequest& request);

  Executor& executor_;
  const std::string metrics_address_;
  SteadyTimer timer_;
};

}  // namespace longhand::service
