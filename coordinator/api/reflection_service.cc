#include "coordinator/api/reflection_service.h"

#include <google/protobuf/descriptor.h>

#include <set>

#include "grpc/health/v1/health.pb.h"

namespace longhand::api {
namespace {

namespace wire = grpc::reflection::v1;
using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;

// The file and all that it imports: clients need every one.
void AddFileWithImports(const FileDescriptor& file,
                        std::set<std::string>* seen,
                        wire::FileDescriptorResponse* out) {
  if (!seen->insert(file.name()).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  out->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i)
    AddFileWithImports(*file.dependency(i), seen, out);
}

void SetFile(const FileDescriptor* file,
             const std::string& asked,
             wire::ServerReflectionResponse* out) {
  if (file == nullptr) {
    out->mutable_error_response()->set_error_code(grpc::StatusCode::NOT_FOUND);
    out->mutable_error_response()->set_error_message("nothing here is named " + asked);
    return;
  }
  std::set<std::string> seen;
  AddFileWithImports(*file, &seen, out->mutable_file_descriptor_response());
}

// One stream: a question, its answer, the next question.
class Reactor final : public grpc::ServerBidiReactor<wire::ServerReflectionRequest,
                                                     wire::ServerReflectionResponse> {
 public:
  explicit Reactor(const ReflectionService& service) : service_(service) { StartRead(&request_); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    response_ = service_.Answer(request_);
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

  const ReflectionService& service_;
  wire::ServerReflectionRequest request_;
  wire::ServerReflectionResponse response_;
};

}  // namespace

grpc::ServerBidiReactor<wire::ServerReflectionRequest, wire::ServerReflectionResponse>*
ReflectionService::ServerReflectionInfo(grpc::CallbackServerContext*) {
  // gRPC serves health checks without a descriptor; naming ours links it in.
  static_cast<void>(grpc::health::v1::HealthCheckRequest::descriptor());
  return new Reactor(*this);
}

wire::ServerReflectionResponse ReflectionService::Answer(
    const wire::ServerReflectionRequest& request) const {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  wire::ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case wire::ServerReflectionRequest::kListServices:
      for (const std::string& name : services_) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      break;
    case wire::ServerReflectionRequest::kFileByFilename:
      SetFile(pool.FindFileByName(request.file_by_filename()), request.file_by_filename(),
              &response);
      break;
    case wire::ServerReflectionRequest::kFileContainingSymbol:
      SetFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
              request.file_containing_symbol(), &response);
      break;
    default:  // proto3 services have no extensions
      response.mutable_error_response()->set_error_code(grpc::StatusCode::NOT_FOUND);
      response.mutable_error_response()->set_error_message("there are no extensions here");
  }
  return response;
}

}  // namespace longhand::api
