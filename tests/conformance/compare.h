// How far two results are apart.
#pragma once

#include "tests/conformance/cases.h"

namespace longhand::conformance {

// The error by the tolerance's metric. Infinity when shapes differ or one value is finite and the
// other is not; for integers, the number of elements that differ.
double ErrorOf(const Outputs& actual, const Outputs& expected, Tolerance::Metric metric);

// The number of bytes that differ; infinity when shapes differ.
double DifferentBytes(const Outputs& actual, const Outputs& expected);

}  // namespace longhand::conformance
