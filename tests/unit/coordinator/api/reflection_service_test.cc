#include "coordinator/api/reflection_service.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include "longhand/v1/generation.pb.h"

namespace longhand::api {
namespace {

using grpc::reflection::v1::ServerReflectionRequest;

class ReflectionServiceTest : public ::testing::Test {
 protected:
  ReflectionService service_{{"longhand.v1.Generation", "grpc.health.v1.Health"}};
};

TEST_F(ReflectionServiceTest, ListsTheServicesItWasGiven) {
  ServerReflectionRequest request;
  request.set_list_services("*");
  const auto response = service_.Answer(request);
  ASSERT_EQ(response.list_services_response().service_size(), 2);
  EXPECT_EQ(response.list_services_response().service(0).name(), "longhand.v1.Generation");
}

TEST_F(ReflectionServiceTest, GivesTheFileOfASymbolWithAllThatItImports) {
  ASSERT_NE(v1::GenerateRequest::descriptor(), nullptr);  // Links the file in.
  ServerReflectionRequest request;
  request.set_file_containing_symbol("longhand.v1.Generation");
  const auto response = service_.Answer(request);
  ASSERT_EQ(response.file_descriptor_response().file_descriptor_proto_size(), 1);
  google::protobuf::FileDescriptorProto file;
  ASSERT_TRUE(file.ParseFromString(response.file_descriptor_response().file_descriptor_proto(0)));
  EXPECT_EQ(file.name(), "longhand/v1/generation.proto");
  EXPECT_EQ(file.service(0).name(), "Generation");
}

TEST_F(ReflectionServiceTest, WhatIsNotThereIsAnErrorThatNamesIt) {
  ServerReflectionRequest request;
  request.set_file_by_filename("no/such.proto");
  const auto response = service_.Answer(request);
  EXPECT_EQ(response.error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(response.error_response().error_message(), ::testing::HasSubstr("no/such.proto"));
}

}  // namespace
}  // namespace longhand::api
