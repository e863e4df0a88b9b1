// The cases of kernel_bench, a group each: the shapes of 7B and 72B.
#pragma once

#include "bench/case_timer.h"

namespace longhand::bench {

void LinearCases(CaseTimer& timer);           // bf16 weights
void QuantizedLinearCases(CaseTimer& timer);  // fp8 and int4
void VaryingLinearCases(
    CaseTimer& timer);  // many rows, by the library that --no-deterministic takes
void DecodeCases(CaseTimer& timer);
void QuantizedDecodeCases(CaseTimer& timer);  // KV caches of int8 and fp8
void PrefillCases(CaseTimer& timer);
void VisionCases(CaseTimer& timer);
void SmallCases(CaseTimer& timer);
void SampleCases(CaseTimer& timer);
void CopyCases(CaseTimer& timer);     // KV blocks, on the device and to the host
void CascadeCases(CaseTimer& timer);  // decode of sequences that share a prefix

}  // namespace longhand::bench
