#include "common/options/nearest_name.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace longhand {
namespace {

constexpr size_t kMostEdits = 2;

size_t NumEdits(std::string_view from, std::string_view to) {
  std::vector<size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < from.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < to.size(); ++j) {
      const size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = std::exchange(row[j + 1], std::min({replaced, row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
}

}  // namespace

std::optional<std::string> NearestName(std::string_view given,
                                       const std::vector<std::string>& known) {
  const std::string* nearest = nullptr;
  size_t fewest = std::min(kMostEdits, given.size() / 3) + 1;
  for (const std::string& name : known) {
    const size_t edits = NumEdits(given, name);
    if (edits == 0) return std::nullopt;
    if (edits >= fewest) continue;
    fewest = edits;
    nearest = &name;
  }
  return nearest != nullptr ? std::optional(*nearest) : std::nullopt;
}

}  // namespace longhand
