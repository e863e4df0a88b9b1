// Time of one all-reduce between processes on this machine, by size and transport.
//
//   comm_bench [--ranks N] [--dtype float32|bfloat16] [--chunk-bytes N]
//
// Of ranks in host memory; peer_check times kernels that read their peers' memory.
//
// Each rank is a process, as workers are. Per size: warm up, then the median of rounds of calls, as
// seen by rank 0. The bound is what memory allows: an all-reduce reads and writes its operand at
// least once on every rank.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/rank_processes.h"
#include "worker/comm/create_communicator.h"

namespace longhand {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 15;
constexpr std::chrono::milliseconds kRoundTime{20};

struct BenchOptions {
  int ranks = 2;
  std::string dtype = "float32";
  size_t chunk_bytes = comm::CommunicatorConfig().chunk_bytes;
};

double Microseconds(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

// Every rank must make the same number of calls: rank 0 decides, and tells.
int64_t CallsPerRound(comm::Communicator& communicator, Clock::duration one_call) {
  int64_t calls = std::clamp<int64_t>(kRoundTime / std::max(one_call, Clock::duration(1)), 1, 2000);
  LONGHAND_CHECK(communicator.Broadcast(TensorView(&calls, DType::kI64, {1}), 0).ok());
  return calls;
}

double MedianCall(comm::Communicator& communicator, TensorView data) {
  const auto time_of = [&](int64_t calls) {
    LONGHAND_CHECK(communicator.Barrier().ok());
    const auto start = Clock::now();
    for (int64_t call = 0; call < calls; ++call) {
      const Status status = communicator.AllReduceSum(data);
      LONGHAND_CHECK(status.ok()) << status;
    }
    return (Clock::now() - start) / calls;
  };
  const int64_t calls = CallsPerRound(communicator, time_of(3));
  std::vector<double> times;
  for (int round = 0; round < kRounds; ++round) times.push_back(Microseconds(time_of(calls)));
  std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
  return times[kRounds / 2];
}

int RunRank(const BenchOptions& options,
            comm::Transport transport,
            const char* name,
            int rank,
            comm::KeyValueStore& store) {
  auto communicator = comm::CreateCommunicator({.rank = rank,
                                                .size = options.ranks,
                                                .group = "comm-bench-" + std::to_string(getppid()),
                                                .transport = transport,
                                                .chunk_bytes = options.chunk_bytes,
                                                .host = "127.0.0.1"},
                                               store, {});
  LONGHAND_CHECK(communicator.ok()) << communicator.status();
  const DType dtype = options.dtype == "bfloat16" ? DType::kBf16 : DType::kF32;
  for (size_t bytes = 1 << 10; bytes <= 32 << 20; bytes *= 2) {
    std::vector<std::byte> memory(bytes);  // Zeros stay zeros, however often they are summed.
    const TensorView data(memory.data(), dtype, {static_cast<int64_t>(bytes / DTypeSize(dtype))});
    const double us = MedianCall(**communicator, data);
    if (rank == 0) {
      std::printf("%-14s %10zu %12.1f %10.2f\n", name, bytes, us,
                  static_cast<double>(bytes) / us / 1e3);
      std::fflush(stdout);
    }
  }
  return 0;
}

int Measure(const BenchOptions& options, comm::Transport transport, const char* name) {
  return bench::RunRanks(options.ranks, [&](int rank, comm::KeyValueStore& store) {
    return RunRank(options, transport, name, rank, store);
  });
}

int Main(int argc, char** argv) {
  BenchOptions options;
  CLI::App app{"Times all-reduces between processes on this machine.", "comm_bench"};
  app.add_option("--ranks", options.ranks, "Processes")
      ->check(CLI::Range(2, 16))
      ->capture_default_str();
  app.add_option("--dtype", options.dtype, "float32 or bfloat16")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--chunk-bytes", options.chunk_bytes,
                 "Of the shared-memory pipeline; a multiple of 4096")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::printf("%d ranks, %s\n%-14s %10s %12s %10s\n", options.ranks, options.dtype.c_str(),
              "transport", "bytes", "us", "GB/s");
  const int shared = Measure(options, comm::Transport::kSharedMemory, "shared memory");
  return shared != 0 ? shared : Measure(options, comm::Transport::kGloo, "gloo loopback");
}

}  // namespace
}  // namespace longhand

int main(int argc, char** argv) { return longhand::Main(argc, argv); }
