#include "coordinator/engine/prefill_share.h"

#include <algorithm>
#include <numeric>

namespace longhand::engine {

std::vector<int64_t> SharePrefill(int64_t budget, const std::vector<int64_t>& wanted) {
  std::vector<int64_t> shares(wanted.size(), 0);
  const auto give = [&](size_t i, int64_t count) {
    count = std::min({count, budget, wanted[i] - shares[i]});
    shares[i] += count;
    budget -= count;
  };
  const auto first = static_cast<size_t>(
      std::find_if(wanted.begin(), wanted.end(), [](int64_t count) { return count > 0; }) -
      wanted.begin());
  if (first == wanted.size()) return shares;
  give(first, (budget + 1) / 2);
  std::vector<size_t> order(wanted.size() - first - 1);
  std::iota(order.begin(), order.end(), first + 1);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return wanted[a] < wanted[b]; });
  for (const size_t i : order) give(i, budget);
  give(first, budget);
  return shares;
}

}  // namespace longhand::engine
