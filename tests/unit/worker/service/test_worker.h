// TestWorker: a worker in the test's process, and the coordinator's side of its protocol.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "common/metrics.h"
#include "longhand/worker/v1/worker.grpc.pb.h"
#include "proto/grpc_status.h"
#include "proto/step_plan_wire.h"
#include "tests/unit/worker/service/fake_runner.h"
#include "worker/service/executor.h"
#include "worker/service/worker_server.h"

namespace longhand::service {

namespace wire = worker::v1;

class TestWorker {
 public:
  TestWorker() : TestWorker(nullptr) {}
  // With runners of its own making instead of FakeRunners.
  explicit TestWorker(RunnerFactory runners) {
    executor_ = std::make_unique<Executor>(
        Executor::Options{.device = OpenDevice("reference", 1).value(),
                          .load_runner = runners ? std::move(runners) : FakeRunners(log),
                          .metrics = metrics_,
                          .log = [](const std::string&) {}});
    server_ = WorkerServer::Start("127.0.0.1:0", *executor_, "127.0.0.1:9").value();
    channel = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    stub = wire::Worker::NewStub(channel);
  }
  ~TestWorker() { EXPECT_TRUE(executor_->Stop(std::chrono::minutes(1))); }

  Executor& executor() { return *executor_; }

  RunnerLog log;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<wire::Worker::Stub> stub;

 private:
  WorkerMetrics metrics_{NoMetrics()};
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<WorkerServer> server_;  // goes first
};

// A request that a fake runner of `size` ranks takes.
inline wire::ConfigureRequest SetupOf(int64_t epoch, int rank = 0, int size = 1) {
  wire::ConfigureRequest request;
  request.set_epoch(epoch);
  request.set_rank(rank);
  request.set_tensor_parallel_size(size);
  request.set_model_directory("/no/such/model");
  request.set_dtype("float32");
  request.set_kv_cache_dtype("float32");
  request.set_quantization("none");
  request.set_num_blocks(8);
  request.set_block_size(16);
  request.set_transport(size == 1 ? wire::TRANSPORT_SINGLE : wire::TRANSPORT_SHARED_MEMORY);
  request.set_group_name("service-test-" + std::to_string(getpid()));
  // Long enough that no test could end by it.
  request.set_collective_timeout_ms(3'600'000);
  return request;
}

struct Configured {
  Status status;
  std::vector<wire::ConfigureProgress> progress;
  bool ready() const { return status.ok() && !progress.empty() && progress.back().ready(); }
};

inline Configured Configure(TestWorker& worker, const wire::ConfigureRequest& request) {
  grpc::ClientContext context;
  const auto reader = worker.stub->Configure(&context, request);
  Configured result;
  for (wire::ConfigureProgress progress; reader->Read(&progress);) {
    result.progress.push_back(progress);
  }
  result.status = FromGrpc(reader->Finish());
  return result;
}

// One token of one sequence.
inline StepPlan Plan(int64_t epoch, int64_t step) {
  StepPlan plan{.epoch = epoch, .step = step};
  plan.chunks.push_back(
      {.sequence_id = 7, .token_ids = {1}, .positions = {0, 0, 0}, .sample = true});
  return plan;
}

// The coordinator's end of a stream of plans.
class PlanStream {
 public:
  explicit PlanStream(TestWorker& worker) : stream_(worker.stub->ExecuteSteps(&context_)) {}

  bool Send(const StepPlan& plan) {
    wire::ExecuteStepRequest request;
    ToWire(plan, &request);
    return stream_->Write(request);
  }
  // The next result, or kCancelled when the stream has ended.
  Result<StepResult> Receive() {
    wire::ExecuteStepResponse response;
    if (!stream_->Read(&response)) return Cancelled("the stream has ended");
    return FromWire(response);
  }
  // Why it ended; after Receive() said so.
  Status Finish() { return FromGrpc(stream_->Finish()); }
  // Why it ended; steps that were aborted may have answered so before.
  Status AwaitEnd() {
    for (Result<StepResult> result = Receive(); result.ok(); result = Receive()) {
      EXPECT_FALSE(result->status.ok());
    }
    return Finish();
  }
  void Cancel() { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<wire::ExecuteStepRequest, wire::ExecuteStepResponse>>
      stream_;
};

}  // namespace longhand::service
