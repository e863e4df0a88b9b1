// The program itself: what it tells its supervisor, where it can be reached, how it ends.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "longhand/worker/v1/worker.grpc.pb.h"
#include "tests/testing/temp_directory.h"

namespace longhand {
namespace {

class Process {
 public:
  explicit Process(std::vector<std::string> args) {
    args.insert(args.begin(), LONGHAND_WORKER);
    int fds[2];
    EXPECT_EQ(pipe(fds), 0);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(fds[1], STDOUT_FILENO);
      std::vector<char*> argv;
      for (std::string& arg : args) argv.push_back(arg.data());
      argv.push_back(nullptr);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(fds[1]);
    out_ = fdopen(fds[0], "r");
  }
  ~Process() {
    if (!reaped_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    fclose(out_);
  }

  std::string ReadLine() {
    char line[1024] = "";
    return fgets(line, sizeof(line), out_) == nullptr ? "" : line;
  }
  void Terminate() { kill(pid_, SIGTERM); }
  // The exit code, or minus the signal.
  int Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    reaped_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  FILE* out_ = nullptr;
  bool reaped_ = false;
};

struct Report {
  std::string listen;
  std::string metrics;
};

Report ReadReport(Process& process) {
  const boost::json::object report = boost::json::parse(process.ReadLine()).as_object();
  return {std::string(report.at("listen").as_string()),
          std::string(report.at("metrics").as_string())};
}

worker::v1::DescribeResponse Describe(const std::string& address) {
  const auto stub =
      worker::v1::Worker::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  worker::v1::DescribeResponse response;
  const grpc::Status status = stub->Describe(&context, {}, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

std::string HttpGet(const std::string& address, const std::string& path) {
  const size_t colon = address.rfind(':');
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  EXPECT_EQ(getaddrinfo(address.substr(0, colon).c_str(), address.substr(colon + 1).c_str(), &hints,
                        &found),
            0);
  const int fd = socket(found->ai_family, found->ai_socktype, 0);
  EXPECT_EQ(connect(fd, found->ai_addr, found->ai_addrlen), 0);
  freeaddrinfo(found);
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string response;
  char buffer[4096];
  for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;) {
    response.append(buffer, static_cast<size_t>(n));
  }
  close(fd);
  return response;
}

TEST(WorkerProcess, TellsWhereItListensAndEndsOnSigterm) {
  Process process({"--device", "reference", "--listen", "127.0.0.1:0"});
  const Report report = ReadReport(process);
  const auto description = Describe(report.listen);
  EXPECT_EQ(description.pid(), process.pid());
  EXPECT_EQ(description.metrics_address(), report.metrics);
  process.Terminate();
  EXPECT_EQ(process.Wait(), 0);
}

TEST(WorkerProcess, ListensOnAUnixSocketAlsoOverAStaleOne) {
  const testing::TempDirectory directory;
  const std::string address = "unix:" + (directory / "worker").string();
  for (int round = 0; round < 2; ++round) {
    Process process({"--device", "reference", "--listen", address});
    EXPECT_EQ(ReadReport(process).listen, address);
    EXPECT_EQ(Describe(address).pid(), process.pid());
    // Killed: the socket stays where it is.
  }
  EXPECT_TRUE(std::filesystem::exists(directory / "worker"));
}

TEST(WorkerProcess, EveryMetricExistsFromTheStart) {
  Process process({"--device", "reference"});
  const std::string page = HttpGet(ReadReport(process).metrics, "/metrics");
  for (const std::string family :
       {"longhand_worker_epoch", "longhand_worker_ready", "longhand_worker_load_seconds",
        "longhand_worker_memory_bytes", "longhand_rank_step", "longhand_worker_steps_total",
        "longhand_worker_failed_steps_total", "longhand_worker_tokens_total",
        "longhand_worker_step_seconds", "longhand_worker_communicate_seconds"}) {
    EXPECT_NE(page.find("# TYPE " + family + " "), std::string::npos) << family;
  }
}

// Rank 0 of two: it waits for a rank that does not come.
TEST(WorkerProcess, EndsOnSigtermWhileItsGroupForms) {
  Process process({"--device", "reference"});
  const auto stub = worker::v1::Worker::NewStub(
      grpc::CreateChannel(ReadReport(process).listen, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  worker::v1::ConfigureRequest request;
  request.set_epoch(1);
  request.set_tensor_parallel_size(2);
  request.set_dtype("float32");
  request.set_kv_cache_dtype("float32");
  request.set_quantization("none");
  request.set_transport(worker::v1::TRANSPORT_SHARED_MEMORY);
  request.set_group_name("process-test-" + std::to_string(getpid()));
  request.set_collective_timeout_ms(3'600'000);
  const auto reader = stub->Configure(&context, request);
  worker::v1::ConfigureProgress progress;
  ASSERT_TRUE(reader->Read(&progress));
  process.Terminate();
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_FALSE(reader->Finish().ok());
}

TEST(WorkerProcess, WithoutAGpuDeviceCudaSaysWhatItNeeds) {
  FILE* out = popen("CUDA_VISIBLE_DEVICES= " LONGHAND_WORKER " --device cuda 2>&1", "r");
  ASSERT_NE(out, nullptr);
  std::string said;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), out)) > 0;) said.append(buffer, n);
  EXPECT_EQ(WEXITSTATUS(pclose(out)), 1) << said;
#ifdef LONGHAND_WITH_CUDA
  EXPECT_NE(said.find("no CUDA device"), std::string::npos) << said;
#else
  EXPECT_NE(said.find("this build is without CUDA"), std::string::npos) << said;
#endif
  EXPECT_NE(said.find("take --device cpu"), std::string::npos) << said;
}

TEST(WorkerProcess, RefusesWhatItCannotDo) {
  const auto exit_code = [](std::vector<std::string> args) {
    return Process(std::move(args)).Wait();
  };
  EXPECT_EQ(exit_code({"--device", "abacus"}), 2);
  EXPECT_EQ(exit_code({"--threads", "0"}), 2);
  EXPECT_EQ(exit_code({"--no-such-flag"}), 2);
  EXPECT_EQ(exit_code({"--listen", "nonsense"}), 2);
  Process first({"--device", "reference"});
  const Report report = ReadReport(first);
  EXPECT_EQ(exit_code({"--device", "reference", "--listen", report.listen}), 1);
  EXPECT_EQ(exit_code({"--device", "reference", "--metrics-address", report.metrics}), 1);
}

}  // namespace
}  // namespace longhand
