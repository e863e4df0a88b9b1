#include "kernels/emulation/late_work.h"

#include <iterator>
#include <utility>

namespace longhand::kernels::emulation {

void LateWork::Add(Piece piece) {
  pieces_.push_back(std::move(piece));
  ++end_;
}

Result<bool> LateWork::Reach(int64_t place) {
  LONGHAND_RETURN_IF_ERROR(failure_);
  if (done_ < place) {
    const Piece piece = std::move(pieces_.front());
    pieces_.pop_front();
    failure_ = piece();
    ++done_;
    LONGHAND_RETURN_IF_ERROR(failure_);
  }
  return done_ >= place;
}

Status LateWork::DoAll() {
  while (true) {
    LONGHAND_ASSIGN_OR_RETURN(const bool all, Reach(end_));
    if (all) return OkStatus();
  }
}

void LateWork::AddStaging(const void* begin, size_t bytes) {
  const auto* first = static_cast<const char*>(begin);
  staging_[first] = first + bytes;
}

void LateWork::RemoveStaging(const void* begin) { staging_.erase(static_cast<const char*>(begin)); }

bool LateWork::IsStaging(const void* data) const {
  const auto* at = static_cast<const char*>(data);
  auto it = staging_.upper_bound(at);
  return it != staging_.begin() && at < std::prev(it)->second;
}

}  // namespace longhand::kernels::emulation
