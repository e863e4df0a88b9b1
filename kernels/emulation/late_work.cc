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
  if (done_ >= place) return true;
  LONGHAND_RETURN_IF_ERROR(DoOne());
  if (done_ < place) return false;
  LONGHAND_RETURN_IF_ERROR(DoAll());
  return true;
}

Status LateWork::DoAll() {
  while (failure_.ok() && done_ < end_) (void)DoOne();
  return failure_;
}

Status LateWork::DoOne() {
  const Piece piece = std::move(pieces_.front());
  pieces_.pop_front();
  ++done_;
  return failure_ = piece();
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
