// How ranks find each other through their coordinator.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <thread>

#include "tests/unit/worker/service/test_worker.h"
#include "worker/service/rendezvous_client.h"

namespace longhand::service {
namespace {

// The coordinator's side, as its protocol says.
class Rendezvous final : public wire::Rendezvous::Service {
 public:
  explicit Rendezvous(const std::string& host = "127.0.0.1") {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(host + ":0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = host + ":" + std::to_string(port);
  }

  bool listens() const { return server_ != nullptr; }

  grpc::Status SetValue(grpc::ServerContext*,
                        const wire::SetValueRequest* request,
                        wire::SetValueResponse*) override {
    std::lock_guard lock(mutex_);
    values_[request->key()] = request->value();
    return grpc::Status::OK;
  }
  grpc::Status GetValue(grpc::ServerContext*,
                        const wire::GetValueRequest* request,
                        wire::GetValueResponse* response) override {
    std::lock_guard lock(mutex_);
    ++num_gets_;
    const auto found = values_.find(request->key());
    if (found == values_.end()) return grpc::Status(grpc::StatusCode::NOT_FOUND, "not yet");
    response->set_value(found->second);
    return grpc::Status::OK;
  }

  const std::string& address() const { return address_; }
  int num_gets() {
    std::lock_guard lock(mutex_);
    return num_gets_;
  }

 private:
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::mutex mutex_;
  std::map<std::string, std::string> values_;
  int num_gets_ = 0;
};

constexpr std::chrono::minutes kLong{1};

TEST(RendezvousClient, AValueIsFoundWhoeverComesFirst) {
  Rendezvous rendezvous;
  RendezvousClient client(rendezvous.address());
  const std::string value("a\0b", 3);
  ASSERT_TRUE(client.Set("early", value).ok());
  EXPECT_EQ(client.Get("early", kLong, {}).value(), value);

  std::jthread waiting([&] { EXPECT_EQ(client.Get("late", kLong, {}).value(), value); });
  while (rendezvous.num_gets() < 3) std::this_thread::yield();
  ASSERT_TRUE(client.Set("late", value).ok());
}

TEST(RendezvousClient, AKeyThatNobodySetsTimesOut) {
  Rendezvous rendezvous;
  RendezvousClient client(rendezvous.address());
  EXPECT_EQ(client.Get("never", std::chrono::milliseconds(30), {}).status().code(),
            StatusCode::kDeadlineExceeded);
}

TEST(RendezvousClient, StopEndsTheWaiting) {
  Rendezvous rendezvous;
  RendezvousClient client(rendezvous.address());
  std::stop_source stop;
  std::jthread waiting([&] {
    EXPECT_EQ(client.Get("never", kLong, stop.get_token()).status().code(), StatusCode::kAborted);
  });
  while (rendezvous.num_gets() < 2) std::this_thread::yield();
  stop.request_stop();
}

TEST(RendezvousClient, StopEndsTheWaitingForAStoreThatIsNotThere) {
  RendezvousClient client("127.0.0.1:1");
  std::stop_source stop;
  std::jthread waiting([&] {
    EXPECT_EQ(client.Get("never", kLong, stop.get_token()).status().code(), StatusCode::kAborted);
  });
  stop.request_stop();
}

// The whole way: addresses through the coordinator, sums over TCP.
class GroupOverGloo : public ::testing::TestWithParam<const char*> {};

TEST_P(GroupOverGloo, Forms) {
  Rendezvous rendezvous(GetParam());
  if (!rendezvous.listens()) GTEST_SKIP() << "this machine has no " << GetParam();
  TestWorker workers[2];
  const auto setup = [&](int rank) {
    wire::ConfigureRequest request = SetupOf(/*epoch=*/1, rank, /*size=*/2);
    request.set_transport(wire::TRANSPORT_GLOO);
    request.set_rendezvous_address(rendezvous.address());
    request.set_bind_address(GetParam());
    return request;
  };
  {
    std::jthread other([&] { EXPECT_TRUE(Configure(workers[1], setup(1)).ready()); });
    ASSERT_TRUE(Configure(workers[0], setup(0)).ready());
  }
  PlanStream zero(workers[0]);
  PlanStream one(workers[1]);
  ASSERT_TRUE(zero.Send(Plan(1, 1)));
  ASSERT_TRUE(one.Send(Plan(1, 1)));
  const Result<StepResult> result = zero.Receive();
  ASSERT_TRUE(result.ok());
  ASSERT_TRUE(result->status.ok()) << result->status;
  EXPECT_EQ(result->sequences[0].tokens[0].token_id, 103);
  EXPECT_TRUE(one.Receive().ok());
}

INSTANTIATE_TEST_SUITE_P(Hosts,
                         GroupOverGloo,
                         ::testing::Values("127.0.0.1", "[::1]"),
                         [](const auto& info) { return info.index == 0 ? "IPv4" : "IPv6"; });

}  // namespace
}  // namespace longhand::service
