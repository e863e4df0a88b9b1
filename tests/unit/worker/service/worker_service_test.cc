// A worker as its coordinator sees it: over gRPC, with runners that have no model.
#include "worker/service/worker_service.h"

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <future>
#include <string>
#include <vector>

#include "common/version.h"
#include "tests/unit/worker/service/test_worker.h"
#include "worker/comm/host_identity.h"

namespace longhand::service {
namespace {

Status PutImage(TestWorker& worker, int64_t epoch, const std::string& hash) {
  grpc::ClientContext context;
  wire::PutImageRequest request;
  request.set_epoch(epoch);
  request.set_image(hash);
  request.set_height(2);
  request.set_width(3);
  request.set_pixels(std::string(18, '\x01'));
  wire::PutImageResponse response;
  return FromGrpc(worker.stub->PutImage(&context, request, &response));
}

int32_t TokenOf(const Result<StepResult>& result) {
  if (!result.ok() || result->sequences.empty()) return -1;
  return result->sequences[0].tokens[0].token_id;
}

TEST(WorkerService, DescribesItself) {
  TestWorker worker;
  grpc::ClientContext context;
  wire::DescribeResponse response;
  ASSERT_TRUE(worker.stub->Describe(&context, {}, &response).ok());
  EXPECT_EQ(response.version(), kVersion);
  EXPECT_EQ(response.host_identity(), comm::HostIdentity());
  EXPECT_EQ(response.device(), "reference");
  EXPECT_EQ(response.instruction_set(), "none");
  EXPECT_GT(response.memory_bytes(), int64_t{1} << 20);
  EXPECT_EQ(response.num_threads(), 1);
  EXPECT_EQ(response.metrics_address(), "127.0.0.1:9");
  EXPECT_EQ(response.pid(), getpid());
  EXPECT_EQ(response.epoch(), 0);
}

TEST(WorkerService, ConfigureEndsReadyWithTheSizes) {
  TestWorker worker;
  const Configured configured = Configure(worker, SetupOf(/*epoch=*/5));
  ASSERT_TRUE(configured.ready()) << configured.status;
  EXPECT_EQ(configured.progress.back().weight_bytes(), 1100);
  EXPECT_EQ(configured.progress.back().kv_cache_bytes(), 50);
  EXPECT_EQ(worker.executor().epoch(), 5);
}

TEST(WorkerService, PlansAreExecutedAndAnsweredInOrder) {
  TestWorker worker;
  ASSERT_TRUE(Configure(worker, SetupOf(1)).ready());
  PlanStream stream(worker);
  for (int64_t step = 1; step <= 20; ++step) ASSERT_TRUE(stream.Send(Plan(1, step)));
  for (int64_t step = 1; step <= 20; ++step) {
    const Result<StepResult> result = stream.Receive();
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->step, step);
    EXPECT_EQ(TokenOf(result), 1 + 100 * step);
  }
}

TEST(WorkerService, AnEpochThatIsNotNewerIsRefused) {
  TestWorker worker;
  ASSERT_TRUE(Configure(worker, SetupOf(4)).ready());
  for (const int64_t epoch : {4, 3}) {
    EXPECT_EQ(Configure(worker, SetupOf(epoch)).status.code(), StatusCode::kFailedPrecondition);
  }
  // And the one at hand lives on.
  PlanStream stream(worker);
  stream.Send(Plan(4, 1));
  EXPECT_EQ(TokenOf(stream.Receive()), 101);
}

TEST(WorkerService, ARequestThatMakesNoSenseIsRefusedAndChangesNothing) {
  TestWorker worker;
  ASSERT_TRUE(Configure(worker, SetupOf(1)).ready());
  wire::ConfigureRequest wrong = SetupOf(2);
  wrong.set_dtype("int3");
  EXPECT_EQ(Configure(worker, wrong).status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(worker.executor().epoch(), 1);
}

TEST(WorkerService, PlansOfAnyOtherEpochEndTheStream) {
  TestWorker worker;
  const auto code_of = [&](int64_t epoch) {
    PlanStream stream(worker);
    stream.Send(Plan(epoch, 1));
    EXPECT_FALSE(stream.Receive().ok());
    return stream.Finish().code();
  };
  EXPECT_EQ(code_of(1), StatusCode::kFailedPrecondition);  // Before any configuration.
  ASSERT_TRUE(Configure(worker, SetupOf(2)).ready());
  EXPECT_EQ(code_of(1), StatusCode::kFailedPrecondition);
  EXPECT_EQ(code_of(3), StatusCode::kFailedPrecondition);
  EXPECT_EQ(worker.log.steps_begun, 0);
}

TEST(WorkerService, AnEpochHasOneStream) {
  TestWorker worker;
  ASSERT_TRUE(Configure(worker, SetupOf(1)).ready());
  PlanStream first(worker);
  first.Send(Plan(1, 1));
  ASSERT_TRUE(first.Receive().ok());
  PlanStream second(worker);
  second.Send(Plan(1, 2));
  EXPECT_FALSE(second.Receive().ok());
  EXPECT_EQ(second.Finish().code(), StatusCode::kFailedPrecondition);
  first.Send(Plan(1, 2));
  EXPECT_EQ(TokenOf(first.Receive()), 201);
}

TEST(WorkerService, WeightsOutliveEpochsUntilTheShardChanges) {
  TestWorker worker;
  ASSERT_TRUE(Configure(worker, SetupOf(1)).ready());
  ASSERT_TRUE(Configure(worker, SetupOf(2)).ready());
  EXPECT_EQ(worker.log.loads, 1);
  wire::ConfigureRequest larger = SetupOf(3);
  larger.set_num_blocks(9);
  ASSERT_TRUE(Configure(worker, larger).ready());
  EXPECT_EQ(worker.log.loads, 2);
}

TEST(WorkerService, AFailedLoadIsReportedAndTheNextOneMayWork) {
  TestWorker worker;
  worker.log.next_load = InvalidArgument("the checkpoint lacks a tensor");
  const Configured failed = Configure(worker, SetupOf(1));
  EXPECT_EQ(failed.status, InvalidArgument("the checkpoint lacks a tensor"));
  EXPECT_TRUE(Configure(worker, SetupOf(2)).ready());
}

TEST(WorkerService, ImagesAreTakenInAReadyEpochOnly) {
  TestWorker worker;
  const std::string hash(32, '\x05');
  EXPECT_EQ(PutImage(worker, 1, hash).code(), StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Configure(worker, SetupOf(1)).ready());
  EXPECT_TRUE(PutImage(worker, 1, hash).ok());
  EXPECT_EQ(worker.log.pixel_bytes, 18);
  EXPECT_EQ(PutImage(worker, 2, hash).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(PutImage(worker, 1, "short").code(), StatusCode::kInvalidArgument);
}

TEST(WorkerService, HealthChecksSayServing) {
  TestWorker worker;
  grpc::GenericStub health(worker.channel);
  // HealthCheckRequest{} is no bytes; HealthCheckResponse{SERVING} is field 1, value 1.
  grpc::ClientContext context;
  const grpc::Slice no_bytes("", 0);
  grpc::ByteBuffer request(&no_bytes, 1);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> done;
  health.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &request, &response,
                   [&](const grpc::Status& status) { done.set_value(status); });
  ASSERT_TRUE(done.get_future().get().ok());
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(response.Dump(&slices).ok());
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(std::string(slices[0].begin(), slices[0].end()), "\x08\x01");
}

}  // namespace
}  // namespace longhand::service
