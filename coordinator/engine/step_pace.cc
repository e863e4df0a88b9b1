#include "coordinator/engine/step_pace.h"

#include <algorithm>
#include <limits>

namespace longhand::engine {
namespace {

constexpr double kKept = 0.75;  // of what was known, at each step
constexpr double kPatienceWithoutStreams = 4;

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// `most` where that fits in, or nothing is known of its cost.
int64_t HowMany(double seconds, double seconds_of_one, int64_t most) {
  if (seconds_of_one * static_cast<double>(most) <= seconds) return most;
  return static_cast<int64_t>(seconds / seconds_of_one);
}

}  // namespace

StepPace::StepPace(Duration target) : target_seconds_(Seconds(target)) {}

void StepPace::Cost::Add(double work, double seconds) {
  work_ = work_ * kKept + work;
  seconds_ = seconds_ * kKept + seconds;
}

void StepPace::Observe(const StepWork& work, Duration took) {
  if (took <= Duration::zero()) return;
  const bool has_prefill = work.num_prefill_tokens > 0, has_images = work.num_patch_layers > 0;
  double seconds = Seconds(took);
  if (!has_prefill && !has_images) {
    if (work.has_streams) decode_.Add(1, seconds);
    return;
  }
  if (work.has_streams) seconds -= decode_.seconds_of_one();
  const auto num_tokens = static_cast<double>(work.num_prefill_tokens);
  if (has_images) {
    seconds -= num_tokens * prefill_.seconds_of_one();
    encode_.Add(static_cast<double>(work.num_patch_layers), std::max(0.0, seconds));
  } else {
    prefill_.Add(num_tokens, std::max(0.0, seconds));
  }
}

// What a step has beside its streams' tokens.
double StepPace::Room(bool has_streams) const {
  if (target_seconds_ == 0) return std::numeric_limits<double>::infinity();
  if (!has_streams) return target_seconds_ * kPatienceWithoutStreams;
  const double decode = decode_.seconds_of_one();
  return std::max(target_seconds_ - decode, decode);
}

int64_t StepPace::MaxPatchLayers(bool has_streams, int64_t most) const {
  return std::max<int64_t>(1, HowMany(Room(has_streams), encode_.seconds_of_one(), most));
}

int64_t StepPace::MaxPrefillTokens(const StepWork& work, int64_t most) const {
  const double encoding = static_cast<double>(work.num_patch_layers) * encode_.seconds_of_one();
  const double room = std::max(0.0, Room(work.has_streams) - encoding);
  const int64_t number = HowMany(room, prefill_.seconds_of_one(), most);
  return std::min(most, std::max(number, kLeastPrefillTokens));
}

}  // namespace longhand::engine
