#include "tests/conformance/device.h"

#include <algorithm>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace longhand::conformance {

namespace {

constexpr size_t kGuardBytes = 256;
constexpr uint8_t kGuard = 0xa5;

// What a failing backend cannot even copy is no conformance result.
void CheckOk(const Status& status) { LONGHAND_CHECK(status.ok()) << status; }

bool AllGuard(const uint8_t* begin, const uint8_t* end) {
  return std::all_of(begin, end, [](uint8_t byte) { return byte == kGuard; });
}

}  // namespace

TensorView Device::Place(HostTensor tensor, bool constant) {
  const size_t offset = kGuardBytes + (misaligned_ ? DTypeSize(tensor.dtype) : 0);
  std::vector<uint8_t> image(offset + tensor.bytes.size() + kGuardBytes, kGuard);
  std::copy(tensor.bytes.begin(), tensor.bytes.end(), image.begin() + static_cast<int64_t>(offset));
  auto buffer = ops_.Allocate(image.size());
  CheckOk(buffer.status());
  void* memory = (*buffer)->data();
  CheckOk(ops_.CopyToDevice(memory, image.data(), image.size()));
  CheckOk(ops_.Synchronize());
  const TensorView view = MakeView(static_cast<char*>(memory) + offset, tensor.dtype, tensor.shape);
  placed_.push_back({std::move(*buffer), view, offset, std::move(tensor), constant});
  Guard(placed_.back(), /*forbid=*/true);
  return view;
}

Device::~Device() {
  for (const Placed& placed : placed_) Guard(placed, /*forbid=*/false);
}

void Device::Guard([[maybe_unused]] const Placed& placed, [[maybe_unused]] bool forbid) const {
#if defined(__SANITIZE_ADDRESS__)
  if (ops_.name() == "cuda") return;
  char* memory = static_cast<char*>(placed.buffer->data());
  const size_t end = placed.offset + placed.tensor.bytes.size();
  if (!forbid) return __asan_unpoison_memory_region(memory, placed.buffer->size_bytes());
  __asan_poison_memory_region(memory, placed.offset);
  __asan_poison_memory_region(memory + end, placed.buffer->size_bytes() - end);
#endif
}

TensorView Device::In(const HostTensor& tensor) { return Place(tensor, /*constant=*/true); }

TensorView Device::InOut(const HostTensor& tensor) { return Place(tensor, /*constant=*/false); }

TensorView Device::Out(DType dtype, std::vector<int64_t> shape) {
  HostTensor tensor(dtype, std::move(shape));
  std::fill(tensor.bytes.begin(), tensor.bytes.end(), uint8_t{0xff});
  return Place(std::move(tensor), /*constant=*/false);
}

Result<kernels::PackedLinear*> Device::Pack(HostTensor weight, kernels::LinearLayout layout) {
  LONGHAND_ASSIGN_OR_RETURN(auto packed, ops_.PackLinear(weight.view(), layout));
  packed_.push_back(std::move(packed));
  return packed_.back().get();
}

Result<kernels::PackedLinear*> Device::Pack(const kernels::QuantizedWeight& weight,
                                            kernels::LinearLayout layout) {
  LONGHAND_ASSIGN_OR_RETURN(auto packed, ops_.PackQuantized(weight, layout));
  packed_.push_back(std::move(packed));
  return packed_.back().get();
}

HostTensor Device::Read(const TensorView& tensor) {
  std::vector<int64_t> shape;
  for (int i = 0; i < tensor.rank(); ++i) shape.push_back(tensor.dim(i));
  HostTensor out(tensor.dtype(), std::move(shape));
  CheckOk(ops_.CopyToHost(out.bytes.data(), tensor.data(), out.bytes.size()));
  CheckOk(ops_.Synchronize());
  return out;
}

Status Device::CheckIntact() {
  for (const Placed& placed : placed_) {
    std::vector<uint8_t> image(placed.buffer->size_bytes());
    Guard(placed, /*forbid=*/false);
    CheckOk(ops_.CopyToHost(image.data(), placed.buffer->data(), image.size()));
    CheckOk(ops_.Synchronize());
    const uint8_t* begin = image.data() + placed.offset;
    const uint8_t* end = begin + placed.tensor.bytes.size();
    if (!AllGuard(image.data(), begin)) {
      return Internal("wrote before ", placed.tensor.ToString());
    }
    if (!AllGuard(end, end + kGuardBytes)) {
      return Internal("wrote after ", placed.tensor.ToString());
    }
    if (placed.constant && !std::equal(begin, end, placed.tensor.bytes.begin())) {
      return Internal("changed its input ", placed.tensor.ToString());
    }
  }
  return OkStatus();
}

}  // namespace longhand::conformance
