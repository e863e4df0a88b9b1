// LateWork: what an emulated device still has to do, for devices that run apart from the host. It
// gets on when somebody looks how far it is, and no earlier: who reads too soon, or writes over
// what a copy has still to read, gets other bits. And it does not stop at the place that was asked
// for: so does who reads too late.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>

#include "common/status.h"

namespace longhand::kernels::emulation {

class LateWork {
 public:
  using Piece = std::function<Status()>;

  void Add(Piece piece);
  // The place behind all that was added.
  int64_t end() const { return end_; }
  // Does one piece more, unless all before `place` are done, and with the last of them all that
  // there is; whether they are done. The first failure stays, and nothing is done after it.
  Result<bool> Reach(int64_t place);
  Status DoAll();

  // Memory that copies read and write late, as long as it is there; elsewhere they do so at once.
  void AddStaging(const void* begin, size_t bytes);
  void RemoveStaging(const void* begin);
  bool IsStaging(const void* data) const;

 private:
  Status DoOne();

  std::deque<Piece> pieces_;
  int64_t end_ = 0, done_ = 0;
  Status failure_;
  std::map<const char*, const char*> staging_;  // begin to end
};

}  // namespace longhand::kernels::emulation
