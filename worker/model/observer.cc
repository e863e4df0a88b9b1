#include "worker/model/observer.h"

#include "common/bf16.h"

namespace longhand::model {
namespace {

Status CopyAsFloat(kernels::Ops& ops, const TensorView& x, std::vector<float>* out) {
  const auto count = static_cast<size_t>(x.num_elements());
  out->resize(count);
  if (x.dtype() == DType::kF32) {
    LONGHAND_RETURN_IF_ERROR(ops.CopyToHost(out->data(), x.data(), x.num_bytes()));
    return ops.Synchronize();
  }
  std::vector<Bf16> narrow(count);
  LONGHAND_RETURN_IF_ERROR(ops.CopyToHost(narrow.data(), x.data(), x.num_bytes()));
  LONGHAND_RETURN_IF_ERROR(ops.Synchronize());
  for (size_t i = 0; i < count; ++i) (*out)[i] = static_cast<float>(narrow[i]);
  return OkStatus();
}

}  // namespace

Status Observe(const Observer& observer,
               kernels::Ops& ops,
               std::string_view name,
               TensorView x,
               TensorView y) {
  if (!observer) return OkStatus();
  Observation observation{.name = name, .rows = x.dim(0), .width = x.dim(1)};
  LONGHAND_RETURN_IF_ERROR(CopyAsFloat(ops, x, &observation.values));
  if (!y.empty()) {
    std::vector<float> more;
    LONGHAND_RETURN_IF_ERROR(CopyAsFloat(ops, y, &more));
    for (size_t i = 0; i < more.size(); ++i) observation.values[i] += more[i];
  }
  observer(observation);
  return OkStatus();
}

}  // namespace longhand::model
