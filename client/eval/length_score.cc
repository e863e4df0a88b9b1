#include "client/eval/length_score.h"

#include <algorithm>

namespace longhand::client {
namespace {

constexpr double kShortest = 2;

double Score(int64_t written, double wanted, double too_short, double too_long) {
  const double x = std::max(static_cast<double>(written), kShortest);
  const double y = std::max(wanted, kShortest);
  const double off = y > x ? (y / x - 1) / too_short : (x / y - 1) / too_long;
  return 100 * std::max(0.0, 1 - off);
}

}  // namespace

double LengthScoreOfCode(int64_t written, double wanted) { return Score(written, wanted, 3, 2); }
double LengthScoreOfPaper(int64_t written, double wanted) { return Score(written, wanted, 2, 3); }

}  // namespace longhand::client
