// peer_check: kernels that read the memory of other ranks (common/peer_group.h), each rank a
// process: every way of summing and gathering, its bits, and on GPUs its time.
//
//   peer_check [--device cuda|emulated] [--ranks N]
//
// Rank r has GPU r, or the first where there are fewer: its kernels and those of the others then
// take turns, and wait for each other so long that times say nothing. One JSON object a line and
// case, by rank 0. Exit 0: all passed; 1: a case failed; 2: usage; 3: there is no device, or ranks
// cannot read each other's memory here.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/rank_processes.h"
#include "common/bf16.h"
#include "common/peer_group.h"
#include "kernels/cuda/cuda_ops.h"

namespace longhand::bench {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kTimeout{20};
constexpr int kRounds = 9, kCallsARound = 20;

struct Shape {
  DType dtype;
  int64_t rows, width;
};
// A row of 72B, a batch of them, what is not aligned, and what needs two shots on a small device.
constexpr Shape kShapes[] = {{DType::kBf16, 1, 8192},
                             {DType::kBf16, 16, 8192},
                             {DType::kBf16, 3, 100},
                             {DType::kF32, 37, 33},
                             {DType::kF32, 8, 2056}};

class Rank {
 public:
  Rank(kernels::CudaOps& ops, comm::KeyValueStore& store, int rank, int size, bool is_timed)
      : ops_(ops), store_(store), group_(ops.MakePeerGroup()), is_timed_(is_timed) {
    group_.rank = rank;
    group_.size = size;
    group_.timeout_ns = static_cast<uint64_t>(std::chrono::nanoseconds(kTimeout).count());
  }
  ~Rank() {
    (void)ops_.DrainPeerCalls();
    (void)Meet("end");  // nobody reads what goes now
  }

  // kUnavailable where a rank cannot read another's memory.
  Status Join() {
    LONGHAND_ASSIGN_OR_RETURN(control_, ops_.AllocatePeerControl());
    group_.control = control_.get();
    memory_.resize(static_cast<size_t>(group_.size));
    auto own = ops_.AllocatePeerMemory(static_cast<size_t>(group_.memory_bytes()));
    LONGHAND_RETURN_IF_ERROR(Publish("memory", own.ok() ? (*own)->handle() : ""));
    LONGHAND_RETURN_IF_ERROR(own.status());
    memory_[static_cast<size_t>(group_.rank)] = std::move(own).value();
    Status opened;
    for (int r = 0; r < group_.size; ++r) {
      auto& memory = memory_[static_cast<size_t>(r)];
      if (r != group_.rank) {
        LONGHAND_ASSIGN_OR_RETURN(const std::string handle, Read("memory", r));
        auto other = ops_.OpenPeerMemory(handle);
        if (!other.ok()) {
          opened = other.status();
          break;
        }
        memory = std::move(other).value();
      }
      group_.memory[r] = memory->data();
    }
    LONGHAND_RETURN_IF_ERROR(Publish("opened", opened.message()));
    for (int r = 0; r < group_.size; ++r) {
      LONGHAND_ASSIGN_OR_RETURN(const std::string failed, Read("opened", r));
      if (!failed.empty()) return Unavailable("rank ", r, ": ", failed);
    }
    return OkStatus();
  }

  void Run() {
    for (const Shape& shape : kShapes) {
      for (const bool two_shot : {false, true}) {
        const int64_t row_bytes = shape.width * static_cast<int64_t>(DTypeSize(shape.dtype));
        if (group_.BlocksFor(shape.rows, row_bytes, two_shot ? group_.size : 1) == 0) continue;
        const std::string what = std::to_string(shape.rows) + "x" + std::to_string(shape.width) +
                                 " " + std::string(DTypeName(shape.dtype)) +
                                 (two_shot ? ", two shots" : ", one shot");
        Case("sum of " + what, [&] { return Sum(shape, two_shot); });
        Case("sum and norm of " + what, [&] { return Norm(shape, two_shot, false); });
        Case("sum, norm and rounding of " + what, [&] { return Norm(shape, two_shot, true); });
      }
    }
    for (const int64_t bytes : {int64_t{8}, int64_t{1000}, int64_t{64} << 10}) {
      Case("gather of " + std::to_string(bytes) + " bytes", [&] { return Gather(bytes); });
    }
  }
  bool failed() const { return failed_; }

 private:
  struct Tensor {
    std::unique_ptr<kernels::Buffer> buffer;
    TensorView view;
  };

  Status Publish(const std::string& what, const std::string& value) {
    return store_.Set(what + "/" + std::to_string(group_.rank), value);
  }
  Result<std::string> Read(const std::string& what, int rank) {
    return store_.Get(what + "/" + std::to_string(rank), kTimeout, {});
  }
  Status Meet(const std::string& what) {
    LONGHAND_RETURN_IF_ERROR(Publish(what, ""));
    for (int r = 0; r < group_.size; ++r) LONGHAND_RETURN_IF_ERROR(Read(what, r).status());
    return OkStatus();
  }

  Result<Tensor> Make(DType dtype, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    Tensor tensor;
    LONGHAND_ASSIGN_OR_RETURN(tensor.buffer,
                              ops_.Allocate(static_cast<size_t>(count) * DTypeSize(dtype)));
    tensor.view = shape.size() == 1
                      ? TensorView(tensor.buffer->data(), dtype, {shape[0]})
                      : TensorView(tensor.buffer->data(), dtype, {shape[0], shape[1]});
    return tensor;
  }
  // The same on each rank for the same seed.
  static std::vector<float> Draw(int64_t count, int seed) {
    std::vector<float> values(static_cast<size_t>(count));
    uint32_t state = static_cast<uint32_t>(seed) * 2654435761u + 1;
    for (float& value : values) {
      state = state * 1664525u + 1013904223u;
      value = static_cast<float>(Bf16(static_cast<float>(state >> 8) * 0x1p-23f - 1.0f));
    }
    return values;
  }
  Status Fill(const TensorView& tensor, const std::vector<float>& values) {
    std::vector<Bf16> narrow(values.begin(), values.end());
    const void* from =
        tensor.dtype() == DType::kBf16 ? static_cast<const void*>(narrow.data()) : values.data();
    LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(tensor.data(), from, tensor.num_bytes()));
    return ops_.Synchronize();
  }
  Result<std::string> BytesOf(const TensorView& tensor) {
    std::string bytes(tensor.num_bytes(), '\0');
    LONGHAND_RETURN_IF_ERROR(ops_.CopyToHost(bytes.data(), tensor.data(), bytes.size()));
    LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
    if (control_->timed_out != 0) return DeadlineExceeded("a rank did not come in time");
    return bytes;
  }
  Status WantSame(const TensorView& seen, const TensorView& wanted) {
    LONGHAND_ASSIGN_OR_RETURN(const std::string a, BytesOf(seen));
    LONGHAND_ASSIGN_OR_RETURN(const std::string b, BytesOf(wanted));
    return a == b ? OkStatus() : Internal("other bits than in rank order");
  }

  // The sum in rank order, made on the host.
  Status FillSum(const TensorView& tensor, int seed) {
    std::vector<float> sum(static_cast<size_t>(tensor.num_elements()));
    for (int r = 0; r < group_.size; ++r) {
      const std::vector<float> next = Draw(tensor.num_elements(), seed + r);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] = r == 0 ? next[i] : sum[i] + next[i];
    }
    return Fill(tensor, sum);
  }

  Result<double> Sum(const Shape& shape, bool two_shot) {
    LONGHAND_ASSIGN_OR_RETURN(const Tensor data, Make(shape.dtype, {shape.rows, shape.width}));
    LONGHAND_ASSIGN_OR_RETURN(const Tensor wanted, Make(shape.dtype, {shape.rows, shape.width}));
    const auto sum = [&] {
      return ops_.PeerReduce({.group = &group_, .data = data.view, .two_shot = two_shot});
    };
    // Regions alternate from call to call.
    for (const int seed : {100, 200, 300}) {
      LONGHAND_RETURN_IF_ERROR(FillSum(wanted.view, seed));
      LONGHAND_RETURN_IF_ERROR(Fill(data.view, Draw(data.view.num_elements(), seed + group_.rank)));
      LONGHAND_RETURN_IF_ERROR(sum());
      LONGHAND_RETURN_IF_ERROR(WantSame(data.view, wanted.view));
    }
    return Time(sum);
  }

  // With the bits of the sum and then Ops::RmsNorm.
  Result<double> Norm(const Shape& shape, bool two_shot, bool rounds) {
    const DType rounded = rounds ? ops_.RoundedDType(shape.dtype) : shape.dtype;
    LONGHAND_ASSIGN_OR_RETURN(const Tensor data, Make(shape.dtype, {shape.rows, shape.width}));
    LONGHAND_ASSIGN_OR_RETURN(const Tensor sum, Make(shape.dtype, {shape.rows, shape.width}));
    LONGHAND_ASSIGN_OR_RETURN(const Tensor residual, Make(shape.dtype, {shape.rows, shape.width}));
    LONGHAND_ASSIGN_OR_RETURN(const Tensor weight, Make(DType::kF32, {shape.width}));
    LONGHAND_ASSIGN_OR_RETURN(const Tensor out, Make(rounded, {shape.rows, shape.width}));
    LONGHAND_ASSIGN_OR_RETURN(const Tensor wanted, Make(rounded, {shape.rows, shape.width}));
    LONGHAND_ASSIGN_OR_RETURN(const Tensor scale, Make(DType::kF32, {shape.rows}));
    const std::vector<float> draw = Draw(data.view.num_elements(), 7);
    LONGHAND_RETURN_IF_ERROR(Fill(weight.view, Draw(shape.width, 8)));
    LONGHAND_RETURN_IF_ERROR(FillSum(sum.view, 400));
    LONGHAND_RETURN_IF_ERROR(Fill(residual.view, draw));
    const TensorView row_scale = rounds ? scale.view : TensorView();
    LONGHAND_RETURN_IF_ERROR(ops_.RmsNorm({.x = sum.view,
                                           .residual = residual.view,
                                           .weight = weight.view,
                                           .out = wanted.view,
                                           .scale = row_scale}));
    LONGHAND_RETURN_IF_ERROR(Fill(residual.view, draw));
    LONGHAND_RETURN_IF_ERROR(Fill(data.view, Draw(data.view.num_elements(), 400 + group_.rank)));
    const auto norm = [&] {
      return ops_.PeerReduce({.group = &group_,
                              .data = data.view,
                              .residual = residual.view,
                              .weight = weight.view,
                              .eps = 1e-6f,
                              .out = out.view,
                              .scale = row_scale,
                              .two_shot = two_shot});
    };
    LONGHAND_RETURN_IF_ERROR(norm());
    LONGHAND_RETURN_IF_ERROR(WantSame(out.view, wanted.view));
    return Time(norm);
  }

  Result<double> Gather(int64_t bytes) {
    LONGHAND_ASSIGN_OR_RETURN(const Tensor local, Make(DType::kI8, {bytes}));
    LONGHAND_ASSIGN_OR_RETURN(const Tensor all, Make(DType::kI8, {group_.size, bytes}));
    std::string wanted;
    for (int r = 0; r < group_.size; ++r) {
      std::string mine(static_cast<size_t>(bytes), '\0');
      for (size_t i = 0; i < mine.size(); ++i) {
        mine[i] = static_cast<char>(i * 37 + static_cast<size_t>(r) * 11);
      }
      if (r == group_.rank) {
        LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(local.view.data(), mine.data(), mine.size()));
        LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
      }
      wanted += mine;
    }
    const auto gather = [&] {
      return ops_.PeerGather({.group = &group_, .local = local.view, .all = all.view});
    };
    LONGHAND_RETURN_IF_ERROR(gather());
    LONGHAND_ASSIGN_OR_RETURN(const std::string seen, BytesOf(all.view));
    if (seen != wanted) return Internal("other bytes than the ranks have");
    return Time(gather);
  }

  // The median of rounds, in microseconds a call; 0 where times say nothing.
  Result<double> Time(const std::function<Status()>& call) {
    if (!is_timed_) return 0.0;
    std::vector<double> rounds;
    for (int round = 0; round < kRounds; ++round) {
      const auto begin = steady_clock::now();
      for (int i = 0; i < kCallsARound; ++i) LONGHAND_RETURN_IF_ERROR(call());
      LONGHAND_RETURN_IF_ERROR(ops_.DrainPeerCalls());
      const std::chrono::duration<double, std::micro> took = steady_clock::now() - begin;
      rounds.push_back(took.count() / kCallsARound);
    }
    std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
    if (control_->timed_out != 0) return DeadlineExceeded("a rank did not come in time");
    return rounds[kRounds / 2];
  }

  // A case passes where it passes on every rank.
  void Case(const std::string& name, const std::function<Result<double>()>& body) {
    if (failed_) return;
    const std::string key = "case" + std::to_string(num_cases_++);
    const Result<double> us = body();
    (void)Publish(key, us.ok() ? "" : us.status().message());
    std::string message;
    for (int r = 0; r < group_.size && message.empty(); ++r) {
      const auto said = Read(key, r);
      message = said.ok() ? *said : said.status().message();
    }
    failed_ = !message.empty();
    if (group_.rank != 0) return;
    for (char& c : message) {
      if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) c = ' ';
    }
    std::printf("{\"op\": \"peers\", \"case\": \"%s\", \"ranks\": %d, \"status\": \"%s\"",
                name.c_str(), group_.size, failed_ ? "fail" : "pass");
    if (is_timed_ && us.ok()) std::printf(", \"us\": %.2f", *us);
    std::printf(", \"message\": \"%s\"}\n", message.c_str());
    std::fflush(stdout);
  }

  kernels::CudaOps& ops_;
  comm::KeyValueStore& store_;
  PeerGroup group_;
  const bool is_timed_;
  std::shared_ptr<PeerControl> control_;
  std::vector<std::unique_ptr<PeerMemory>> memory_;
  int num_cases_ = 0;
  bool failed_ = false;
};

struct Opened {
  std::unique_ptr<kernels::CudaOps> ops;
  bool is_shared = false;  // with other ranks
};

Result<Opened> Open(const std::string& device, int rank, int size) {
  Opened opened;
  if (device == "emulated") {
    LONGHAND_ASSIGN_OR_RETURN(opened.ops, kernels::CreateEmulatedOps());
    return opened;
  }
#if defined(LONGHAND_WITH_CUDA)
  // The last rank has a GPU of its own where all have.
  auto ops = kernels::CreateCudaOps(size - 1);
  opened.is_shared = !ops.ok();
  if (rank != size - 1 || opened.is_shared) {
    ops = kernels::CreateCudaOps(opened.is_shared ? 0 : rank);
  }
  LONGHAND_ASSIGN_OR_RETURN(opened.ops, std::move(ops));
  return opened;
#else
  (void)rank, (void)size;
  return Unimplemented("this build is without CUDA");
#endif
}

int RunRank(const std::string& device, int rank, int size, comm::KeyValueStore& store) {
  auto opened = Open(device, rank, size);
  if (!opened.ok()) {
    std::fprintf(stderr, "peer_check: %s\n", opened.status().message().c_str());
    return 3;
  }
  const bool is_timed = opened->ops->IsTimed() && !opened->is_shared;
  Rank self(*opened->ops, store, rank, size, is_timed);
  if (const Status joined = self.Join(); !joined.ok()) {
    std::fprintf(stderr, "peer_check: %s\n", joined.message().c_str());
    return joined.code() == StatusCode::kUnavailable ? 3 : 1;
  }
  self.Run();
  return self.failed() ? 1 : 0;
}

}  // namespace
}  // namespace longhand::bench

int main(int argc, char** argv) {
  std::string device = "cuda";
  int ranks = 2;
  bool usage = argc % 2 == 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--device") {
      device = argv[i + 1];
    } else if (flag == "--ranks") {
      ranks = std::atoi(argv[i + 1]);
    } else {
      usage = true;
    }
  }
  if (usage || ranks < 1 || ranks > longhand::kMaxPeers ||
      (device != "cuda" && device != "emulated")) {
    std::fprintf(stderr, "usage: peer_check [--device cuda|emulated] [--ranks 1..%d]\n",
                 longhand::kMaxPeers);
    return 2;
  }
  return longhand::bench::RunRanks(ranks, [&](int rank, longhand::comm::KeyValueStore& store) {
    return longhand::bench::RunRank(device, rank, ranks, store);
  });
}
