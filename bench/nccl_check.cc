// nccl_check: NCCL on this machine through NcclCommunicator, with one rank on one GPU: form, sum,
// gather, broadcast, abort, and form again in the next epoch.
//
//   nccl_check [--library /path/to/libnccl.so.2]
//
// One JSON object a line and step. Says nothing about speed between GPUs. Exit 0: all passed; 1: a
// step failed; 2: usage; 3: there is no device or no NCCL.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/cuda_ops.h"
#include "worker/comm/cuda_stream.h"
#include "worker/comm/key_value_store.h"
#include "worker/comm/nccl_communicator.h"

namespace longhand::bench {
namespace {

using comm::NcclCommunicator;

// One rank has nobody to wait for.
class OwnStore final : public comm::KeyValueStore {
 public:
  Status Set(std::string_view key, std::string_view value) override {
    values_[std::string(key)] = value;
    return OkStatus();
  }
  Result<std::string> Get(std::string_view key,
                          std::chrono::milliseconds,
                          std::stop_token) override {
    const auto found = values_.find(std::string(key));
    if (found == values_.end()) return DeadlineExceeded("nobody set ", key);
    return found->second;
  }

 private:
  std::map<std::string, std::string> values_;
};

class Check {
 public:
  Check(kernels::Ops& ops, comm::DeviceStream& stream, std::string library)
      : ops_(ops), stream_(stream), library_(std::move(library)) {}

  // Small and large sums take different ways.
  void Run() {
    for (const int64_t epoch : {0, 1}) {
      std::unique_ptr<NcclCommunicator> group;
      const std::string which = ", epoch " + std::to_string(epoch);
      if (!Step("form" + which, [&] { return Form(epoch, group); })) return;
      for (const int64_t count : {int64_t{7}, int64_t{4096}, int64_t{64} << 20}) {
        for (const DType dtype : {DType::kF32, DType::kBf16}) {
          const std::string what =
              " of " + std::to_string(count) + " " + std::string(DTypeName(dtype)) + which;
          Step("sum" + what, [&] { return Keeps(*group, dtype, count, &Sum); });
          Step("gather" + what, [&] { return Keeps(*group, dtype, count, &Gather); });
          Step("broadcast" + what, [&] { return Keeps(*group, dtype, count, &Broadcast); });
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
  using Call = Status (*)(NcclCommunicator&, TensorView in, TensorView out);

  static Status Sum(NcclCommunicator& group, TensorView in, TensorView) {
    return group.AllReduceSum(in);
  }
  static Status Gather(NcclCommunicator& group, TensorView in, TensorView out) {
    return group.AllGather(in, out);
  }
  static Status Broadcast(NcclCommunicator& group, TensorView in, TensorView) {
    return group.Broadcast(in, 0);
  }

  Status Form(int64_t epoch, std::unique_ptr<NcclCommunicator>& group) {
    LONGHAND_ASSIGN_OR_RETURN(
        group,
        NcclCommunicator::Connect(
            {.rank = 0, .size = 1, .group = "nccl_check", .epoch = epoch, .library = library_},
            stream_, store_, {}));
    return OkStatus();
  }

  // Of one rank each collective is the identity.
  Status Keeps(NcclCommunicator& group, DType dtype, int64_t count, Call call) {
    std::vector<char> bytes(static_cast<size_t>(count) * DTypeSize(dtype));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 37 % 61);
    LONGHAND_ASSIGN_OR_RETURN(const auto in, ops_.Allocate(bytes.size()));
    LONGHAND_ASSIGN_OR_RETURN(const auto out, ops_.Allocate(bytes.size()));
    LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(in->data(), bytes.data(), bytes.size()));
    LONGHAND_RETURN_IF_ERROR(call(group, TensorView(in->data(), dtype, {count}),
                                  TensorView(out->data(), dtype, {1, count})));
    LONGHAND_RETURN_IF_ERROR(group.Synchronize());
    std::vector<char> after(bytes.size());
    void* result = call == &Gather ? out->data() : in->data();
    LONGHAND_RETURN_IF_ERROR(ops_.CopyToHost(after.data(), result, after.size()));
    LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
    return after == bytes ? OkStatus() : Internal("the bytes came out different");
  }

  static Status Aborts(NcclCommunicator& group) {
    group.Abort();
    const Status after = group.Barrier();
    const Status waited = after.ok() ? group.Synchronize() : after;
    if (waited.code() == StatusCode::kAborted) return OkStatus();
    return Internal("a call after Abort() ended in ", waited.ToString());
  }

  template <typename Body>
  bool Step(const std::string& name, Body body) {
    const auto begin = std::chrono::steady_clock::now();
    const Status status = body();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    std::string message(status.message());
    for (char& c : message) {
      if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) c = ' ';
    }
    std::printf("{\"op\": \"nccl\", \"case\": \"%s\", \"status\": \"%s\", \"ms\": %.3f, "
                "\"message\": \"%s\"}\n",
                name.c_str(), status.ok() ? "pass" : "fail", took.count(), message.c_str());
    std::fflush(stdout);
    failed_ = failed_ || !status.ok();
    return status.ok();
  }

  kernels::Ops& ops_;
  comm::DeviceStream& stream_;
  std::string library_;
  OwnStore store_;
  bool failed_ = false;
};

int Run(const std::string& library) {
  const auto loaded = comm::NcclLibrary::Load(library);
  if (!loaded.ok()) {
    std::fprintf(stderr, "nccl_check: %s\n", std::string(loaded.status().message()).c_str());
    return 3;
  }
  std::printf("{\"op\": \"nccl\", \"case\": \"NCCL %s\", \"status\": \"pass\"}\n",
              loaded->version().c_str());
  const auto ops = kernels::CreateCudaOps(/*device_idx=*/0);
  if (!ops.ok()) {
    std::fprintf(stderr, "nccl_check: %s\n", std::string(ops.status().message()).c_str());
    return 3;
  }
  const auto stream = comm::CreateCudaStream((*ops)->stream());
  if (!stream.ok()) {
    std::fprintf(stderr, "nccl_check: %s\n", std::string(stream.status().message()).c_str());
    return 3;
  }
  Check check(**ops, **stream, library);
  check.Run();
  return check.failed() ? 1 : 0;
}

}  // namespace
}  // namespace longhand::bench

int main(int argc, char** argv) {
  std::string library;
  if (argc == 3 && std::string_view(argv[1]) == "--library") {
    library = argv[2];
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: nccl_check [--library /path/to/libnccl.so.2]\n");
    return 2;
  }
  return longhand::bench::Run(library);
}
