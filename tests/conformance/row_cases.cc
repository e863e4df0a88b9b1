// Embedding, GatherRows, ScatterRows: copies, so exact.
#include "tests/conformance/cases.h"

namespace longhand::conformance {
namespace {

// With a history, some ids are taken from there, and those that stand in their place are not read.
Result<Outputs> RunEmbedding(
    Device& device, int64_t width, DType table, DType out, bool has_history = false) {
  Rng rng(/*seed=*/21);
  kernels::EmbeddingArgs args;
  args.ids = device.In(Int32({100, 103, 99, 0, 104, 105, -1, 101, 103}));
  args.table = device.In(rng.Normal({5, width}, table));
  args.first_id = 100;
  args.out = device.Out(out, {9, width});
  if (has_history) {
    args.ids = device.In(Int32({-7, 103, -7, 0, -7, 105, -1, 101, -7}));
    args.history = device.In(Int32({5, 103, 100, 5, 99, 104}, {2, 3}));
    args.history_idx = device.In(Int64({2, -1, 4, -1, 5, -1, -1, -1, 1}));
  }
  LONGHAND_RETURN_IF_ERROR(device.ops().Embedding(args));
  return Outputs{device.Read(args.out)};
}

Result<Outputs> RunGather(Device& device, int64_t width, DType dtype) {
  Rng rng(/*seed=*/22);
  kernels::GatherRowsArgs args;
  args.x = device.In(dtype == DType::kI32 ? Int32(rng.Permutation(7 * width), {7, width})
                                          : rng.Normal({7, width}, dtype));
  args.rows = device.In(Int32({6, 0, 3, 3, 1}));
  args.out = device.Out(dtype, {5, width});
  LONGHAND_RETURN_IF_ERROR(device.ops().GatherRows(args));
  return Outputs{device.Read(args.out)};
}

// Rows that are not named keep what they held.
Result<Outputs> RunScatter(Device& device, int64_t width, DType x, DType out) {
  Rng rng(/*seed=*/23);
  kernels::ScatterRowsArgs args;
  args.x = device.In(rng.Normal({3, width}, x));
  args.rows = device.In(Int32({8, 0, 5}));
  args.out = device.InOut(rng.Normal({9, width}, out));
  LONGHAND_RETURN_IF_ERROR(device.ops().ScatterRows(args));
  return Outputs{device.Read(args.out)};
}

}  // namespace

void AddRowCases(std::vector<Case>& cases) {
  constexpr DType kF32 = DType::kF32, kBf16 = DType::kBf16;
  const Tolerance exact{0, Tolerance::Metric::kOfLargest, "a copy"};
  for (int64_t width : {1, 15, 16, 29, 116, 420, 3584}) {
    const std::string suffix = " width " + std::to_string(width);
    const bool misaligned = width % 2 == 1;
    for (DType table : {kF32, kBf16}) {
      for (DType out : {kF32, kBf16}) {
        const std::string types =
            " " + std::string(DTypeName(table)) + " to " + std::string(DTypeName(out));
        cases.push_back({.op = "Embedding",
                         .name = "ids in and out of the shard," + suffix + types,
                         .body = [=](Device& d) { return RunEmbedding(d, width, table, out); },
                         .tolerance = exact,
                         .misaligned = misaligned});
        cases.push_back(
            {.op = "Embedding",
             .name = "ids of a history," + suffix + types,
             .body = [=](Device& d) { return RunEmbedding(d, width, table, out, true); },
             .tolerance = exact,
             .misaligned = misaligned,
             .same_bits = [=](Device& d) { return RunEmbedding(d, width, table, out); }});
        if (table == kBf16 && out == kF32) continue;
        cases.push_back({.op = "ScatterRows",
                         .name = "named rows only," + suffix + types,
                         .body = [=](Device& d) { return RunScatter(d, width, table, out); },
                         .tolerance = exact,
                         .misaligned = misaligned});
      }
    }
    for (DType dtype : {kF32, kBf16, DType::kI32}) {
      cases.push_back({.op = "GatherRows",
                       .name = "rows, one twice," + suffix + " " + std::string(DTypeName(dtype)),
                       .body = [=](Device& d) { return RunGather(d, width, dtype); },
                       .tolerance = exact,
                       .misaligned = misaligned});
    }
  }
}

}  // namespace longhand::conformance
