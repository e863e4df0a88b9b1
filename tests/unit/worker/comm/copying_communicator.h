// CopyingCommunicator: another communicator for tensors that lie where it does not reach. Each call
// takes them there, waits, and brings back what came out.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "common/check.h"
#include "worker/comm/communicator.h"

namespace longhand::comm {

// Memory within the other's reach, and copies to and from it that have ended when they return.
struct CopyingPlace {
  std::byte* data = nullptr;
  size_t bytes = 0;
  std::function<Status(void* to, const void* from, size_t bytes)> put, get;
};

class CopyingCommunicator final : public Communicator {
 public:
  CopyingCommunicator(std::unique_ptr<Communicator> inner, CopyingPlace place)
      : inner_(std::move(inner)), place_(std::move(place)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }

  Status AllReduceSum(TensorView data) override {
    return InPlace(data, [&](TensorView there) { return inner_->AllReduceSum(there); });
  }
  Status Broadcast(TensorView data, int root) override {
    return InPlace(data, [&](TensorView there) { return inner_->Broadcast(there, root); });
  }
  Status AllGather(TensorView local, TensorView all) override {
    const auto* begin = static_cast<std::byte*>(all.data());
    const auto* own = static_cast<std::byte*>(local.data());
    const bool is_within = own >= begin && own < begin + all.num_bytes();
    const TensorView all_there = There(all, 0);
    const TensorView local_there = There(local, is_within ? static_cast<size_t>(own - begin)
                                                          : (all.num_bytes() + 255) & ~size_t{255});
    LONGHAND_RETURN_IF_ERROR(place_.put(local_there.data(), local.data(), local.num_bytes()));
    LONGHAND_RETURN_IF_ERROR(inner_->AllGather(local_there, all_there));
    LONGHAND_RETURN_IF_ERROR(inner_->Synchronize());
    return place_.get(all.data(), all_there.data(), all.num_bytes());
  }
  Status Barrier() override { return inner_->Barrier(); }
  Status Synchronize() override { return inner_->Synchronize(); }
  void Abort() override { inner_->Abort(); }

 private:
  TensorView There(const TensorView& view, size_t offset) const {
    LONGHAND_CHECK(offset + view.num_bytes() <= place_.bytes) << view.ToString();
    return TensorView(place_.data + offset, view.dtype(), {view.num_elements()});
  }
  template <typename Call>
  Status InPlace(const TensorView& data, const Call& call) {
    const TensorView there = There(data, 0);
    LONGHAND_RETURN_IF_ERROR(place_.put(there.data(), data.data(), data.num_bytes()));
    LONGHAND_RETURN_IF_ERROR(call(there));
    LONGHAND_RETURN_IF_ERROR(inner_->Synchronize());
    return place_.get(data.data(), there.data(), data.num_bytes());
  }

  std::unique_ptr<Communicator> inner_;
  const CopyingPlace place_;
};

}  // namespace longhand::comm
