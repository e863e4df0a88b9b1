#include "client/eval/judgement.h"

#include <numeric>

#include "client/eval/lenient_json.h"

namespace longhand::client {

double Judgement::Quality() const {
  const int sum = std::accumulate(scores.begin(), scores.end(), 0);
  return (sum - static_cast<int>(scores.size())) * 25.0 / static_cast<double>(scores.size());
}

Result<Judgement> ParseJudgement(std::string_view reply) {
  LONGHAND_ASSIGN_OR_RETURN(const boost::json::object object, ParseLenientObject(reply));
  Judgement judgement;
  for (size_t i = 0; i < kDimensions.size(); ++i) {
    const boost::json::value* found = object.if_contains(kDimensions[i]);
    if (found == nullptr) return InvalidArgument("the judge gives no ", kDimensions[i]);
    const double score = found->is_int64()    ? static_cast<double>(found->get_int64())
                         : found->is_double() ? found->get_double()
                                              : 0;
    for (int allowed = 1; allowed <= 5; ++allowed)
      if (score == allowed) judgement.scores[i] = allowed;
    if (judgement.scores[i] == 0)
      return InvalidArgument("the judge gives ", boost::json::serialize(*found), " for ",
                             kDimensions[i], "; it must be a whole number from 1 to 5");
  }
  const boost::json::value* analysis = object.if_contains("Analysis");
  if (analysis != nullptr && analysis->is_string())
    judgement.analysis = std::string(analysis->get_string());
  return judgement;
}

}  // namespace longhand::client
