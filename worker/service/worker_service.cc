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
#include "worker/service/watch_call.h"

namespace longhand::service {

namespace wire = worker::v1;

WorkerService::WorkerService(Executor& executor, std::string metrics_address)
    : executor_(executor), metrics_address_(std::move(metrics_address)) {}

wire::DescribeResponse WorkerService::Description() const {
  const Device& device = executor_.device();
  wire::DescribeResponse description;
  description.set_version(kVersion);
  description.set_host_identity(comm::HostIdentity());
  description.set_device(device.name);
  description.set_instruction_set(device.instruction_set);
  description.set_memory_bytes(device.memory_bytes);
  description.set_memory_identity(device.memory_identity);
  description.set_taken_memory_bytes(device.taken_memory_bytes);
  description.set_library_bytes(device.library_bytes);
  description.set_host_memory_bytes(HostMemoryBytes());
  description.set_num_threads(device.num_threads);
  description.set_metrics_address(metrics_address_);
  description.set_pid(getpid());
  description.set_epoch(executor_.epoch());
  return description;
}

grpc::ServerUnaryReactor* WorkerService::Describe(grpc::CallbackServerContext* context,
                                                  const wire::DescribeRequest*,
                                                  wire::DescribeResponse* response) {
  *response = Description();
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<wire::Pulse>* WorkerService::Watch(grpc::CallbackServerContext*,
                                                            const wire::WatchRequest* request) {
  return WatchCall::Start(*request, Description(), executor_, timer_);
}

grpc::ServerUnaryReactor* WorkerService::Prepare(grpc::CallbackServerContext* context,
                                                 const wire::ConfigureRequest* request,
                                                 wire::PrepareResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Result<RankSetup> setup = RankSetup::FromWire(*request);
  Status queued = setup.status();
  if (setup.ok()) {
    queued = executor_.Prepare(std::move(setup).value(), [reactor](const Status& status) {
      reactor->Finish(ToGrpc(status));
    });
  }
  if (!queued.ok()) reactor->Finish(ToGrpc(queued));
  return reactor;
}

grpc::ServerWriteReactor<wire::ConfigureProgress>* WorkerService::Configure(
    grpc::CallbackServerContext*, const wire::ConfigureRequest* request) {
  return ConfigureCall::Start(*request, executor_);
}

grpc::ServerUnaryReactor* WorkerService::LoadAdapter(grpc::CallbackServerContext* context,
                                                     const wire::LoadAdapterRequest* request,
                                                     wire::LoadAdapterResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const Status queued =
      executor_.LoadAdapter(request->epoch(), AdapterSetup::FromWire(request->adapter()),
                            [reactor](const Status& status) { reactor->Finish(ToGrpc(status)); });
  if (!queued.ok()) reactor->Finish(ToGrpc(queued));
  return reactor;
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
