// The backends that this machine can run, for tests that hold on each.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/ops.h"

namespace longhand::parity {

inline std::unique_ptr<kernels::Ops> CreateOps(const std::string& backend, int num_threads) {
  if (backend == "reference") return kernels::CreateReferenceOps();
  if (backend == "emulated") {
    auto emulated = kernels::CreateEmulatedOps();
    LONGHAND_CHECK(emulated.ok()) << emulated.status();
    return std::move(emulated).value();
  }
  Result<std::unique_ptr<kernels::Ops>> ops = kernels::CreateCpuOps(num_threads);
  LONGHAND_CHECK(ops.ok()) << ops.status();
  return std::move(ops).value();
}

inline const auto kBackends = testing::Values(std::string("reference"), std::string("cpu"));

// To print a backend in a test's name.
inline std::string BackendName(const testing::TestParamInfo<std::string>& info) {
  return info.param;
}

}  // namespace longhand::parity
