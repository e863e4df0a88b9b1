// Steps that must have the same bits, compared: a JSON line each, and kInternal when any differs.
#pragma once

#include "bench/model_driver.h"

namespace longhand::bench {

// A step replayed, and operation by operation: every token and every logit.
Status CompareGraphs(ModelDriver& d, const Shape::Cell& cell);
// The first sequence's logits alone, and beside others up to the largest batch of the cells.
Status CompareBatches(ModelDriver& d);
// A prompt's last logits: from one prompt, and from its last token decoded on top of the others.
Status CompareRecomputed(ModelDriver& d, int64_t tokens);

}  // namespace longhand::bench
