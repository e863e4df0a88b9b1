#include "tests/unit/worker/comm/device_ranks.h"

#include <cstring>
#include <utility>

#include "tests/unit/worker/comm/copying_communicator.h"

namespace longhand::comm {
namespace {

// For what four ranks gather of 2 MiB each.
constexpr size_t kBytes = 16 << 20;

class AddressedMemory final : public PeerMemory {
 public:
  // `owner` may be null: then it is another rank's.
  AddressedMemory(std::byte* data, std::unique_ptr<PeerMemory> owner)
      : data_(data), owner_(std::move(owner)) {}

  std::byte* data() override { return data_; }
  std::string handle() const override {
    return std::string(reinterpret_cast<const char*>(&data_), sizeof(data_));
  }
  void Close() override {
    if (owner_ != nullptr) owner_->Close();
  }

 private:
  std::byte* const data_;
  const std::unique_ptr<PeerMemory> owner_;
};

}  // namespace

Result<std::unique_ptr<PeerMemory>> InProcessPeerDevice::AllocatePeerMemory(size_t bytes) {
  LONGHAND_ASSIGN_OR_RETURN(auto memory, ForwardingPeerDevice::AllocatePeerMemory(bytes));
  std::byte* const data = memory->data();
  return std::unique_ptr<PeerMemory>(std::make_unique<AddressedMemory>(data, std::move(memory)));
}

Result<std::unique_ptr<PeerMemory>> InProcessPeerDevice::OpenPeerMemory(const std::string& handle) {
  std::byte* data = nullptr;
  LONGHAND_CHECK_EQ(handle.size(), sizeof(data));
  std::memcpy(&data, handle.data(), sizeof(data));
  return std::unique_ptr<PeerMemory>(std::make_unique<AddressedMemory>(data, nullptr));
}

Result<std::unique_ptr<DeviceRank>> DeviceRank::Create(std::unique_ptr<kernels::CudaOps> ops) {
  std::unique_ptr<DeviceRank> rank(new DeviceRank(std::move(ops)));
  LONGHAND_ASSIGN_OR_RETURN(rank->on_device_, rank->ops_->Allocate(kBytes));
  rank->on_host_.resize(kBytes);
  return rank;
}

Status DeviceRank::CopyToDevice(void* device, const void* host, size_t bytes) {
  LONGHAND_RETURN_IF_ERROR(ops_->CopyToDevice(device, host, bytes));
  return ops_->Synchronize();
}

Status DeviceRank::CopyToHost(void* host, const void* device, size_t bytes) {
  LONGHAND_RETURN_IF_ERROR(ops_->CopyToHost(host, device, bytes));
  return ops_->Synchronize();
}

std::unique_ptr<Communicator> DeviceRank::FromDevice(std::unique_ptr<Communicator> on_host) {
  return std::make_unique<CopyingCommunicator>(
      std::move(on_host),
      CopyingPlace{.data = on_host_.data(),
                   .bytes = kBytes,
                   .put = [this](void* to, const void* from,
                                 size_t bytes) { return CopyToHost(to, from, bytes); },
                   .get = [this](void* to, const void* from,
                                 size_t bytes) { return CopyToDevice(to, from, bytes); }});
}

std::unique_ptr<Communicator> DeviceRank::FromHost(std::unique_ptr<Communicator> on_device) {
  return std::make_unique<CopyingCommunicator>(
      std::move(on_device),
      CopyingPlace{.data = static_cast<std::byte*>(on_device_->data()),
                   .bytes = kBytes,
                   .put = [this](void* to, const void* from,
                                 size_t bytes) { return CopyToDevice(to, from, bytes); },
                   .get = [this](void* to, const void* from,
                                 size_t bytes) { return CopyToHost(to, from, bytes); }});
}

}  // namespace longhand::comm
