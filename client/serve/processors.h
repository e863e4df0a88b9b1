// How many processors there are for ranks that compute on them.
#pragma once

namespace longhand::client {

// Processors' time that the control group allows, in processors; 0: no bound.
double ProcessorQuota();

// Threads of each of `num_ranks` that share the processors, or as many of them as `quota` allows.
// More would wait for each other.
int ThreadsOfRank(int num_processors, double quota, int num_ranks);

}  // namespace longhand::client
