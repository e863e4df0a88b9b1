// How near a text's length is to what was asked for, 0 to 100. There are two scores called S_l.
#pragma once

#include <cstdint>

namespace longhand::client {

// As LongWriter-V's code computes it: too short costs a third of wanted / written - 1, too long a
// half of written / wanted - 1. Both lengths count 2 at least.
double LengthScoreOfCode(int64_t written, double wanted);
// As the paper's formula 6 has it: the third and the half the other way round.
double LengthScoreOfPaper(int64_t written, double wanted);

}  // namespace longhand::client
