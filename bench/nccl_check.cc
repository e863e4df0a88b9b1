// nccl_check: NCCL on this machine through NcclCommunicator: form, sum, gather, broadcast, abort,
// and form again in the next epoch. With several ranks each is a process, on a GPU of its own or,
// where NCCL allows that (2.30 and NCCL_MULTI_RANK_GPU_ENABLE=1), all on the first; and kernels
// that read their peers' memory go over it (PeerCommunicator), as in a worker.
//
//   nccl_check [--library /path/to/libnccl.so.2] [--ranks N]
//
// One JSON object a line and step, by rank 0. Says nothing about speed between GPUs. Exit 0: all
// passed; 1: a step failed; 2: usage; 3: there is no device or no NCCL.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/rank_processes.h"
#include "common/bf16.h"
#include "kernels/cuda/cuda_ops.h"
#include "worker/comm/create_communicator.h"
#include "worker/comm/cuda_stream.h"
#include "worker/comm/nccl_communicator.h"

namespace longhand::bench {
namespace {

using comm::Communicator;
using comm::CommunicatorConfig;

constexpr std::chrono::seconds kTimeout{40};

class Check {
 public:
  Check(kernels::CudaOps& ops,
        comm::DeviceStream& stream,
        comm::KeyValueStore& store,
        std::string library,
        int rank,
        int size)
      : ops_(ops),
        stream_(stream),
        store_(store),
        library_(std::move(library)),
        rank_(rank),
        size_(size) {}

  // Small and large sums take different ways.
  void Run() {
    for (const int64_t epoch : {0, 1}) {
      std::unique_ptr<Communicator> group;
      const std::string which = ", epoch " + std::to_string(epoch);
      if (!Step("form" + which, [&] { return Form(epoch, group); })) return;
      for (const int64_t count : {int64_t{7}, int64_t{4096}, int64_t{16} << 20}) {
        for (const DType dtype : {DType::kF32, DType::kBf16}) {
          const std::string what =
              " of " + std::to_string(count) + " " + std::string(DTypeName(dtype)) + which;
          Step("sum" + what, [&] { return Sums(*group, dtype, count); });
          Step("gather" + what, [&] { return Gathers(*group, dtype, count); });
          Step("broadcast" + what, [&] { return Broadcasts(*group, dtype, count); });
        }
      }
      Step("barrier" + which, [&] {
        LONGHAND_RETURN_IF_ERROR(group->Barrier());
        return group->Synchronize();
      });
      Step("abort" + which, [&] { return Aborts(*group); });
    }
  }
  bool failed() const { return failed_; }

 private:
  Status Form(int64_t epoch, std::unique_ptr<Communicator>& group) {
    const CommunicatorConfig config{.rank = rank_,
                                    .size = size_,
                                    .group = "nccl_check",
                                    .epoch = epoch,
                                    .transport = comm::Transport::kNccl,
                                    .peers = &ops_,
                                    .log = [this](const std::string& line) { said_ = line; },
                                    .device = &stream_,
                                    .nccl_library = library_};
    if (size_ == 1) {  // A worker with one rank has no need of NCCL.
      LONGHAND_ASSIGN_OR_RETURN(
          group, comm::NcclCommunicator::Connect(
                     {.size = 1, .group = config.group, .epoch = epoch, .library = library_},
                     stream_, store_, {}));
      return OkStatus();
    }
    LONGHAND_ASSIGN_OR_RETURN(group, comm::CreateCommunicator(config, store_, {}));
    return OkStatus();
  }

  // Of magnitudes from 1 to 2^24, as the dtype has them: three or more ranks' sums in another
  // order, or rounded on the way, have other bits.
  static float Element(DType dtype, int64_t i, int rank) {
    uint64_t bits =
        (static_cast<uint64_t>(i) * kMaxPeers + static_cast<uint64_t>(rank)) * 0x9e3779b97f4a7c15u;
    bits ^= bits >> 32;
    const float fraction = 1 + static_cast<float>(bits & 0x7fffff) * 0x1p-23f;
    const float sign = (bits >> 23 & 1) != 0 ? -1.0f : 1.0f;
    const float value = sign * std::ldexp(fraction, static_cast<int>((bits >> 24) % 24));
    return dtype == DType::kF32 ? value : static_cast<float>(Bf16(value));
  }
  static std::vector<char> Bytes(DType dtype,
                                 int64_t count,
                                 const std::function<float(int64_t)>& at) {
    std::vector<char> bytes(static_cast<size_t>(count) * DTypeSize(dtype));
    const TensorView view(bytes.data(), dtype, {count});
    for (int64_t i = 0; i < count; ++i) {
      if (dtype == DType::kF32) {
        view.as<float>()[i] = at(i);
      } else {
        view.as<Bf16>()[i] = Bf16(at(i));
      }
    }
    return bytes;
  }

  using Call = std::function<Status(TensorView in, TensorView out)>;
  // Calls with this rank's elements; what is then in `in`, or with `gathers` in `out`, must be
  // `wanted`.
  Status Try(Communicator& group,
             DType dtype,
             int64_t count,
             bool gathers,
             const Call& call,
             const std::vector<char>& wanted) {
    const std::vector<char> bytes =
        Bytes(dtype, count, [&](int64_t i) { return Element(dtype, i, rank_); });
    LONGHAND_ASSIGN_OR_RETURN(const auto in, ops_.Allocate(bytes.size()));
    LONGHAND_ASSIGN_OR_RETURN(
        const auto out, ops_.Allocate(gathers ? bytes.size() * static_cast<size_t>(size_) : 1));
    LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(in->data(), bytes.data(), bytes.size()));
    LONGHAND_RETURN_IF_ERROR(call(TensorView(in->data(), dtype, {count}),
                                  TensorView(out->data(), dtype, {size_, count})));
    LONGHAND_RETURN_IF_ERROR(group.Synchronize());
    std::vector<char> after(wanted.size());
    LONGHAND_RETURN_IF_ERROR(
        ops_.CopyToHost(after.data(), gathers ? out->data() : in->data(), after.size()));
    LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
    return after == wanted ? OkStatus() : Internal("the bytes came out different");
  }

  Status Sums(Communicator& group, DType dtype, int64_t count) {
    const auto sum = [&](int64_t i) {
      float total = Element(dtype, i, 0);
      for (int r = 1; r < size_; ++r) total += Element(dtype, i, r);
      return total;
    };
    return Try(
        group, dtype, count, false,
        [&](TensorView in, TensorView) { return group.AllReduceSum(in); },
        Bytes(dtype, count, sum));
  }
  Status Gathers(Communicator& group, DType dtype, int64_t count) {
    const auto of_all = [&](int64_t i) {
      return Element(dtype, i % count, static_cast<int>(i / count));
    };
    return Try(
        group, dtype, count, true,
        [&](TensorView in, TensorView out) { return group.AllGather(in, out); },
        Bytes(dtype, size_ * count, of_all));
  }
  Status Broadcasts(Communicator& group, DType dtype, int64_t count) {
    return Try(
        group, dtype, count, false,
        [&](TensorView in, TensorView) { return group.Broadcast(in, 0); },
        Bytes(dtype, count, [&](int64_t i) { return Element(dtype, i, 0); }));
  }

  static Status Aborts(Communicator& group) {
    group.Abort();
    const Status after = group.Barrier();
    const Status waited = after.ok() ? group.Synchronize() : after;
    if (waited.code() == StatusCode::kAborted) return OkStatus();
    return Internal("a call after Abort() ended in ", waited.ToString());
  }

  // A step passes where it passes on every rank.
  template <typename Body>
  bool Step(const std::string& name, Body body) {
    const auto begin = std::chrono::steady_clock::now();
    const Status status = body();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    const std::string key = "step" + std::to_string(num_steps_++) + "/";
    (void)store_.Set(key + std::to_string(rank_), status.message());
    std::string message;
    for (int r = 0; r < size_ && message.empty(); ++r) {
      const auto said = store_.Get(key + std::to_string(r), kTimeout, {});
      message = said.ok() ? *said : said.status().message();
    }
    const bool passed = message.empty();
    failed_ = failed_ || !passed;
    if (rank_ != 0) return passed;
    if (passed) message = std::exchange(said_, "");
    for (char& c : message) {
      if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) c = ' ';
    }
    std::printf(
        "{\"op\": \"nccl\", \"case\": \"%s\", \"ranks\": %d, \"status\": \"%s\", "
        "\"ms\": %.3f, \"message\": \"%s\"}\n",
        name.c_str(), size_, passed ? "pass" : "fail", took.count(), message.c_str());
    std::fflush(stdout);
    return passed;
  }

  kernels::CudaOps& ops_;
  comm::DeviceStream& stream_;
  comm::KeyValueStore& store_;
  const std::string library_;
  const int rank_, size_;
  std::string said_;  // when the group formed
  int num_steps_ = 0;
  bool failed_ = false;
};

int Fail(const Status& status) {
  std::fprintf(stderr, "nccl_check: %s\n", status.message().c_str());
  return 3;
}

int RunRank(const std::string& library, int rank, int size, comm::KeyValueStore& store) {
  const auto loaded = comm::NcclLibrary::Load(library);
  if (!loaded.ok()) return Fail(loaded.status());
  if (rank == 0) {
    std::printf("{\"op\": \"nccl\", \"case\": \"NCCL %s\", \"ranks\": %d, \"status\": \"pass\"}\n",
                loaded->version().c_str(), size);
  }
  auto ops = kernels::CreateCudaOps(rank);
  if (!ops.ok()) ops = kernels::CreateCudaOps(0);
  if (!ops.ok()) return Fail(ops.status());
  const auto stream = comm::CreateCudaStream((*ops)->stream());
  if (!stream.ok()) return Fail(stream.status());
  Check check(**ops, **stream, store, library, rank, size);
  check.Run();
  return check.failed() ? 1 : 0;
}

}  // namespace
}  // namespace longhand::bench

int main(int argc, char** argv) {
  std::string library;
  int ranks = 1;
  bool usage = argc % 2 == 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--library") {
      library = argv[i + 1];
    } else if (flag == "--ranks") {
      ranks = std::atoi(argv[i + 1]);
    } else {
      usage = true;
    }
  }
  if (usage || ranks < 1 || ranks > longhand::kMaxPeers) {
    std::fprintf(stderr, "usage: nccl_check [--library /path/to/libnccl.so.2] [--ranks 1..%d]\n",
                 longhand::kMaxPeers);
    return 2;
  }
  return longhand::bench::RunRanks(ranks, [&](int rank, longhand::comm::KeyValueStore& store) {
    return longhand::bench::RunRank(library, rank, ranks, store);
  });
}
