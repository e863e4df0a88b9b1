// WorkerServer: the gRPC server of a worker, with health checks.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "common/status.h"
#include "worker/service/worker_service.h"

namespace longhand::service {

class WorkerServer {
 public:
  // Listens on host:port (port 0 picks one) or unix:PATH. kUnavailable when that cannot be bound.
  static Result<std::unique_ptr<WorkerServer>> Start(const std::string& address,
                                                     Executor& executor,
                                                     const std::string& metrics_address);
  // Ends all calls. The executor must have been stopped: a call that it sets up for ends only with
  // it.
  ~WorkerServer();

  const std::string& address() const { return address_; }  // with the real port

 private:
  WorkerServer(Executor& executor, const std::string& metrics_address)
      : service_(executor, metrics_address) {}

  WorkerService service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace longhand::service
