// What the trials of attention's kernels share: tensors of a call, and running it.
#pragma once

#include <initializer_list>
#include <memory>
#include <vector>

#include "common/split_mix.h"
#include "kernels/cuda/device_ops.h"

namespace longhand::kernels::LONGHAND_DEVICE {

// A trial's workspaces and tensors are its own, and freed with it.
class AttentionTrial {
 public:
  explicit AttentionTrial(const Context& context) {
    context_.stream = context.stream;
    context_.stream.num_recordings = 0;
  }
  Context& context() { return context_; }

  Result<TensorView> Zeros(DType dtype, std::initializer_list<int64_t> shape) {
    auto bytes = static_cast<int64_t>(DTypeSize(dtype));
    for (const int64_t dim : shape) bytes *= dim;
    LONGHAND_ASSIGN_OR_RETURN(auto buffer,
                              AllocateMemory(context_.stream, static_cast<size_t>(bytes)));
    buffers_.push_back(std::move(buffer));
    return TensorView(buffers_.back()->data(), dtype, shape);
  }
  template <typename T>
  Result<TensorView> Put(const std::vector<T>& host,
                         DType dtype,
                         std::initializer_list<int64_t> shape) {
    LONGHAND_ASSIGN_OR_RETURN(const TensorView tensor, Zeros(dtype, shape));
    LONGHAND_RETURN_IF_ERROR(
        CopyToDevice(context_.stream, tensor.data(), host.data(), host.size() * sizeof(T)));
    LONGHAND_RETURN_IF_ERROR(WaitFor(context_.stream));
    return tensor;
  }
  Result<TensorView> Numbers(const std::vector<int32_t>& host,
                             std::initializer_list<int64_t> shape) {
    return Put(host, DType::kI32, shape);
  }
  // From 1/32 to 4, of both signs: their products' exponents differ, and so do the weights.
  Result<TensorView> Values(std::initializer_list<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    std::vector<uint16_t> host(static_cast<size_t>(count));
    for (uint16_t& value : host) {
      const uint64_t bits = SplitMix64(random_);
      value = static_cast<uint16_t>((bits & 0x807f) | (122 + (bits >> 16) % 7) << 7);
    }
    return Put(host, DType::kBf16, shape);
  }
  // Into memory that holds something else.
  template <typename Args, typename Enqueue>
  Result<std::vector<uint16_t>> Run(std::initializer_list<int64_t> shape,
                                    Args& args,
                                    Enqueue&& enqueue) {
    LONGHAND_ASSIGN_OR_RETURN(args.out, Values(shape));
    LONGHAND_RETURN_IF_ERROR(enqueue(context_, args));
    std::vector<uint16_t> result(static_cast<size_t>(args.out.num_elements()));
    LONGHAND_RETURN_IF_ERROR(CopyToHost(context_.stream, result.data(), args.out.data(),
                                        result.size() * sizeof(uint16_t)));
    LONGHAND_RETURN_IF_ERROR(WaitFor(context_.stream));
    return result;
  }

 private:
  Context context_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  uint64_t random_ = 7;
};

// decode_trial.cu. Does not fail: where something did, decode keeps to warps, and the choice says
// why.
void TryDecode(const Context& context, AttentionState& state);

}  // namespace longhand::kernels::LONGHAND_DEVICE
