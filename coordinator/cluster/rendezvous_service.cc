#include "coordinator/cluster/rendezvous_service.h"

namespace longhand::cluster {
namespace {

// 64 workers, each with an address for each other one and some rounds of agreement.
constexpr size_t kMaxValues = 64 * 64 * 4;
constexpr size_t kMaxValueBytes = 64 * 1024;

}  // namespace

grpc::ServerUnaryReactor* RendezvousService::SetValue(grpc::CallbackServerContext* context,
                                                      const worker::v1::SetValueRequest* request,
                                                      worker::v1::SetValueResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  std::lock_guard lock(mutex_);
  if (values_.size() >= kMaxValues || request->value().size() > kMaxValueBytes) {
    reactor->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED,
                     "the store holds at most " + std::to_string(kMaxValues) + " values of " +
                         std::to_string(kMaxValueBytes) + " bytes"});
    return reactor;
  }
  values_[request->key()] = request->value();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* RendezvousService::GetValue(grpc::CallbackServerContext* context,
                                                      const worker::v1::GetValueRequest* request,
                                                      worker::v1::GetValueResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  std::lock_guard lock(mutex_);
  const auto value = values_.find(request->key());
  if (value == values_.end()) {
    reactor->Finish({grpc::StatusCode::NOT_FOUND, "nobody has set " + request->key() + " yet"});
    return reactor;
  }
  response->set_value(value->second);
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

void RendezvousService::Clear(const std::string& group_name) {
  std::lock_guard lock(mutex_);
  std::erase_if(values_, [&](const auto& value) {
    return value.first.find(group_name + "/") != std::string::npos;
  });
}

}  // namespace longhand::cluster
