#include "worker/service/worker_service.h"

#include <unistd.h>

#include <span>
#include <utility>

#include "common/version.h"
#include "proto/grpc_status.h"
#include "proto/step_plan_wire.h"
#include "worker/comm/host_identity.h"
#include "worker/service/configure_call.h"
#include "worker/service/step_call.h"

namespace longhand::service {

namespace wire = worker::v1;

WorkerService::WorkerService(Executor& executor, std::string metrics_address)
    : executor_(executor), metrics_address_(std::move(metrics_address)) {}

grpc::ServerUnaryReactor* WorkerService::Describe(grpc::CallbackServerContext* context,
                                                  const wire::DescribeRequest*,
                                                  wire::DescribeResponse* response) {
  const Device& device = executor_.device();
  response->set_version(kVersion);
  response->set_host_identity(comm::HostIdentity());
  response->set_device(device.name);
  response->set_instruction_set(device.instruction_set);
  response->set_memory_bytes(device.memory_bytes);
  response->set_memory_identity(device.memory_identity);
  response->set_num_threads(device.num_threads);
  response->set_metrics_address(metrics_address_);
  response->set_pid(getpid());
  response->set_epoch(executor_.epoch());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<wire::ConfigureProgress>* WorkerService::Configure(
    grpc::CallbackServerContext*, const wire::ConfigureRequest* request) {
  return ConfigureCall::Start(*request, executor_);
}

grpc::ServerUnaryReactor* WorkerService::PutImage(grpc::CallbackServerContext* context,
                                                  const wire::PutImageRequest* request,
                                                  wire::PutImageResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(PutImage(*request)));
  return reactor;
}

Status WorkerService::PutImage(const wire::PutImageRequest& request) {
  LONGHAND_ASSIGN_OR_RETURN(const ContentHash hash, ContentHashFromWire(request.image()));
  const auto* pixels = reinterpret_cast<const uint8_t*>(request.pixels().data());
  return executor_.PutImage(request.epoch(), hash, request.height(), request.width(),
                            std::span(pixels, request.pixels().size()));
}

grpc::ServerBidiReactor<wire::ExecuteStepRequest, wire::ExecuteStepResponse>*
WorkerService::ExecuteSteps(grpc::CallbackServerContext*) {
  return StepCall::Start(executor_);
}

}  // namespace longhand::service
