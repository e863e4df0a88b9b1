#include "kernels/host_memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <limits>

#include "kernels/host_checks.h"
#include "kernels/row_scale.h"

namespace longhand::kernels {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;

class HostBuffer final : public Buffer {
 public:
  HostBuffer(void* data, size_t bytes) : data_(data), bytes_(bytes) {}
  ~HostBuffer() override { std::free(data_); }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;

  void* data() override { return data_; }
  size_t size_bytes() const override { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
};

}  // namespace

Result<std::unique_ptr<Buffer>> AllocateHost(size_t bytes) {
  LONGHAND_ASSIGN_OR_RETURN(std::unique_ptr<Buffer> buffer, AllocateHostUnwritten(bytes));
  std::memset(buffer->data(), 0, bytes);
  return buffer;
}

Result<std::unique_ptr<Buffer>> AllocateHostUnwritten(size_t bytes) {
  const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kCacheLine;
  void* data = nullptr;
  if (bytes <= std::numeric_limits<size_t>::max() - alignment) {
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    data = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  }
  if (data == nullptr) return ResourceExhausted("no host memory for ", bytes, " bytes");
  // Advice only: without huge pages everything works, more slowly.
  if (alignment == kHugePage) (void)madvise(data, bytes, MADV_HUGEPAGE);
  return std::unique_ptr<Buffer>(std::make_unique<HostBuffer>(data, bytes));
}

bool HostOps::HasKvDType(DType kv) const {
  return kv == DType::kF32 || kv == DType::kBf16 || HasKvScales(kv);
}

Status HostOps::DoCopyBlocks(const CopyBlocksArgs& args) {
  LONGHAND_RETURN_IF_ERROR(CheckBlockPairs(args));
  if (args.pairs.dim(0) == 0) return OkStatus();
  const int64_t num_from = args.from.dim(1), num_to = args.to.dim(1);
  const size_t bytes = args.from.num_bytes() / static_cast<size_t>(2 * num_from);
  const auto* from = static_cast<const char*>(args.from.data());
  auto* to = static_cast<char*>(args.to.data());
  const int32_t* pairs = args.pairs.as<int32_t>();
  for (int64_t i = 0; i < args.pairs.dim(0); ++i) {
    for (int64_t side = 0; side < 2; ++side) {
      std::memcpy(to + static_cast<size_t>(side * num_to + pairs[2 * i + 1]) * bytes,
                  from + static_cast<size_t>(side * num_from + pairs[2 * i]) * bytes, bytes);
    }
  }
  return OkStatus();
}

Status HostOps::CopyToDevice(void* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
  return OkStatus();
}

Status HostOps::CopyToHost(void* host, const void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
  return OkStatus();
}

}  // namespace longhand::kernels
