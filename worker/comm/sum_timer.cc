#include "worker/comm/sum_timer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <vector>

namespace longhand::comm {
namespace {

constexpr int kRounds = 9;  // odd: the median is one of them
// In a round, after one that is not timed.
constexpr int kCalls = 10;

// As wide as a model's rows at the least; wider ones are fewer.
constexpr int64_t kWidth = 2048;

}  // namespace

Result<SumTimer> SumTimer::Create(const PeerGroup& group,
                                  PeerDevice& device,
                                  Communicator& inner,
                                  std::function<TimePoint()> now,
                                  size_t max_bytes) {
  SumTimer timer(group, device, inner, std::move(now));
  for (auto* memory : {&timer.data_, &timer.residual_, &timer.out_}) {
    LONGHAND_ASSIGN_OR_RETURN(*memory, device.AllocatePeerMemory(max_bytes));
  }
  LONGHAND_ASSIGN_OR_RETURN(timer.weight_, device.AllocatePeerMemory(kWidth * sizeof(float)));
  return timer;
}

bool SumTimer::Fits(size_t bytes, SumWay way) const {
  if (way == SumWay::kOther) return true;
  const int64_t row_bytes = kWidth * static_cast<int64_t>(DTypeSize(DType::kBf16));
  return group_.BlocksFor(static_cast<int64_t>(bytes) / row_bytes, row_bytes,
                          way == SumWay::kTwoShots ? group_.size : 1) > 0;
}

Status SumTimer::SumAndNorm(size_t bytes, SumWay way) {
  const auto view = [bytes](const std::unique_ptr<PeerMemory>& memory) {
    return TensorView(memory->data(), DType::kBf16,
                      {static_cast<int64_t>(bytes / DTypeSize(DType::kBf16)) / kWidth, kWidth});
  };
  const PeerReduceArgs args{.group = &group_,
                            .data = view(data_),
                            .residual = view(residual_),
                            .weight = TensorView(weight_->data(), DType::kF32, {kWidth}),
                            .eps = 1e-6f,
                            .out = view(out_),
                            .two_shot = way == SumWay::kTwoShots};
  if (way != SumWay::kOther) return device_.PeerReduce(args);
  LONGHAND_RETURN_IF_ERROR(inner_.AllReduceSum(args.data));
  return device_.NormSum(args);
}

Result<double> SumTimer::TimeRound(size_t bytes, SumWay way) {
  LONGHAND_RETURN_IF_ERROR(SumAndNorm(bytes, way));
  LONGHAND_RETURN_IF_ERROR(inner_.Barrier());
  const TimePoint begin = now_();
  for (int call = 0; call < kCalls; ++call) LONGHAND_RETURN_IF_ERROR(SumAndNorm(bytes, way));
  LONGHAND_RETURN_IF_ERROR(inner_.Synchronize());
  const std::chrono::duration<double, std::micro> took = now_() - begin;
  return took.count() / kCalls;
}

Result<SumTimes> SumTimer::Time(size_t bytes) {
  std::array<std::vector<double>, kSumWays.size()> rounds;
  for (int round = 0; round < kRounds; ++round) {
    for (const SumWay way : kSumWays) {
      if (!Fits(bytes, way)) continue;
      LONGHAND_ASSIGN_OR_RETURN(const double us, TimeRound(bytes, way));
      rounds[static_cast<size_t>(way)].push_back(us);
    }
  }
  SumTimes times{.bytes = bytes};
  for (size_t way = 0; way < rounds.size(); ++way) {
    auto& us = rounds[way];
    std::sort(us.begin(), us.end());
    times.us[way] = us.empty() ? std::numeric_limits<double>::infinity() : us[us.size() / 2];
  }
  return times;
}

}  // namespace longhand::comm
