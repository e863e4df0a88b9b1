// What model_bench times, each a JSON line.
#pragma once

#include <cstdint>

#include "bench/model_driver.h"

namespace longhand::bench {

// Steps of so many sequences and tokens of context.
Status TimeDecode(ModelDriver& d, const Shape::Cell& cell);
// A prompt, in chunks.
Status TimePrefill(ModelDriver& d, int64_t tokens);
// So many images in one step.
Status TimeImages(ModelDriver& d, int64_t count);

}  // namespace longhand::bench
