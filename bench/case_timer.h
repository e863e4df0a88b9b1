// CaseTimer: times the cases of kernel_bench and says what came out, a JSON object a line.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/device_timer.h"
#include "kernels/ops.h"

namespace longhand::bench {

using Enqueue = std::function<Status()>;

// The tensors of one case, freed with it.
class Tensors {
 public:
  Tensors(kernels::Ops& ops, DeviceTimer& timer) : ops_(ops), timer_(timer) {}

  Result<TensorView> Zeros(DType dtype, std::initializer_list<int64_t> shape);
  // Zeros in the host's staging memory.
  Result<TensorView> Staging(DType dtype, std::initializer_list<int64_t> shape);
  // f32 or bf16, bell-shaped.
  Result<TensorView> Random(DType dtype, std::initializer_list<int64_t> shape, float deviation = 1);
  // Codes of 8 bits, fp8 or int8, none of them a NaN.
  Result<TensorView> RandomCodes(DType dtype, std::initializer_list<int64_t> shape);
  template <typename T>
  Result<TensorView> Of(const std::vector<T>& values, std::initializer_list<int64_t> shape) {
    LONGHAND_ASSIGN_OR_RETURN(const TensorView view, Zeros(DTypeOf<T>::value, shape));
    LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(view.data(), values.data(), view.num_bytes()));
    LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
    return view;
  }

 private:
  kernels::Ops& ops_;
  DeviceTimer& timer_;
  std::vector<std::unique_ptr<kernels::Buffer>> buffers_;
};

// What a case cannot avoid, and the numbers by which a peer makes the same one.
struct Work {
  std::string op, name;
  double bytes = 0, flops = 0;
  std::string shape;         // members of a JSON object
  std::string variant = {};  // "fp8", "int4": the same case in bf16 has none
};

class CaseTimer {
 public:
  using Make = std::function<Result<Enqueue>(Tensors&)>;

  // `dry`: every case runs once, at a small size. `only`: those whose names have it in them.
  CaseTimer(kernels::Ops& ops, DeviceTimer& timer, bool dry, std::string only)
      : ops_(ops), timer_(timer), dry_(dry), only_(std::move(only)) {}

  kernels::Ops& ops() { return ops_; }
  bool dry() const { return dry_; }
  int64_t Small(int64_t real, int64_t small) const { return dry_ ? std::min(real, small) : real; }

  // What a device can read, for each of several sizes.
  void Roofs();
  void Time(const Work& work, const Make& make);
  // Ops::TrialResults(), where there are any.
  void Trials();
  bool failed() const { return failed_; }

 private:
  void Print(const Work& work, const Result<Times>& times);

  kernels::Ops& ops_;
  DeviceTimer& timer_;
  bool dry_;
  std::string only_;
  bool failed_ = false;
};

// {{"rows", 4}} as "rows": 4
std::string Members(const std::vector<std::pair<const char*, int64_t>>& numbers);

}  // namespace longhand::bench
