// SIGTERM and SIGINT, waited for instead of handled.
#pragma once

#include <chrono>

namespace longhand {

// Before any thread starts, so that all inherit it: signals are taken by WaitForSignal alone.
void BlockSignals();
// Blocks until SIGTERM or SIGINT, or for as long as `patience`. Whether a signal came.
bool WaitForSignal(std::chrono::milliseconds patience);
// As if one had come. Any thread.
void RaiseSignal();
// Ends the wait, or the next one, as if its patience were over. Any thread.
void EndWait();

}  // namespace longhand
