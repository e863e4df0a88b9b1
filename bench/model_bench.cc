// model_bench: whole steps of models in their real sizes, with random weights that are drawn
// on the host (random_weights.h). Needs no files.
//
//   model_bench --device cuda --shape 7b [--json FILE] [--cells 1x1024,16x4096]
//   [--quantization none|int8|fp8|awq] [--prefill 2048,8192] [--images 1,16] [--steps 50]
//   [--budget-s 120]
//
// Plans go to the runner that the worker has, sampling included: no sockets, no scheduler. The KV
// cache holds random keys and values, each sequence's blocks are its own and lie anywhere. A rank
// of a larger group ("72b-tp8") runs alone: its collectives exchange nothing, so its time is that
// of its own work and never that of a group.
//
// A JSON object a line, each flushed. For a decode cell: wall_ms is one step as the worker's
// executor sees it (median and 99th percentile); device_ms is the same step's operations when the
// host is out of the way (they were enqueued before the device began), so wall_ms - device_ms is
// what the host costs, copies of the plan included. "ops" has the device's microseconds a step by
// operation, with an event behind each, of steps that are not replayed.
//
// Decode steps are recorded and replayed where the device can (CUDA graphs); --no-graphs runs them
// operation by operation. --compare-graphs runs each step both ways and compares every token and
// every bit of the logits: a "graphs" line for each cell, and exit 1 when any differs.
// --compare-batches does the same of a sequence alone and in batches, and of a prompt's last token
// decoded and recomputed.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "bench/model_cells.h"
#include "bench/model_comparisons.h"
#include "bench/model_driver.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cuda/cuda_ops.h"

namespace longhand::bench {
namespace {

struct Device {
  std::unique_ptr<kernels::Ops> ops;
  std::unique_ptr<DeviceClock> clock;
};

Result<Device> OpenDevice(const ModelOptions& options) {
  Device device;
  if (options.device == "cuda") {
#ifdef LONGHAND_WITH_CUDA
    LONGHAND_ASSIGN_OR_RETURN(auto ops, kernels::CreateCudaOps(/*device_idx=*/0));
    LONGHAND_ASSIGN_OR_RETURN(device.clock, CreateCudaClock(ops->stream()));
    device.ops = std::move(ops);
    return device;
#else
    return Unimplemented("this build is without CUDA");
#endif
  }
  device.clock = CreateHostClock();
  if (options.device == "emulated") {
    LONGHAND_ASSIGN_OR_RETURN(device.ops, kernels::CreateEmulatedOps());
  } else if (options.device == "cpu") {
    LONGHAND_ASSIGN_OR_RETURN(device.ops, kernels::CreateCpuOps(options.threads));
  } else {
    device.ops = kernels::CreateReferenceOps();
  }
  return device;
}

Status Measure(ModelDriver& d) {
  LONGHAND_RETURN_IF_ERROR(d.MeasureRead());
  LONGHAND_RETURN_IF_ERROR(d.Load());
  if (d.options().compare_batches) {
    LONGHAND_RETURN_IF_ERROR(CompareBatches(d));
    for (const int64_t tokens : d.shape().prefills) {
      LONGHAND_RETURN_IF_ERROR(CompareRecomputed(d, tokens));
    }
    return OkStatus();
  }
  for (const Shape::Cell& cell : d.shape().cells) {
    const std::string name = std::to_string(cell.batch) + "x" + std::to_string(cell.context);
    if (d.OutOfTime("decode " + name)) continue;
    LONGHAND_RETURN_IF_ERROR(d.options().compare_graphs ? CompareGraphs(d, cell)
                                                        : TimeDecode(d, cell));
  }
  for (const int64_t tokens : d.shape().prefills) {
    if (!d.OutOfTime("prefill " + std::to_string(tokens)))
      LONGHAND_RETURN_IF_ERROR(TimePrefill(d, tokens));
  }
  for (const int64_t count : d.options().images) {
    if (d.OutOfTime("images " + std::to_string(count))) continue;
    LONGHAND_RETURN_IF_ERROR(TimeImages(d, count));
  }
  return OkStatus();
}

Status Run(const ModelOptions& options) {
  LONGHAND_ASSIGN_OR_RETURN(Shape shape, MakeShape(options.shape));
  if (!options.cells.empty()) {
    LONGHAND_ASSIGN_OR_RETURN(shape.cells, ParseCells(options.cells));
  }
  if (!options.prefills.empty()) shape.prefills = options.prefills;
  std::erase(shape.prefills, 0);
  Report report;
  LONGHAND_RETURN_IF_ERROR(report.Open(options.json));
  LONGHAND_ASSIGN_OR_RETURN(Device device, OpenDevice(options));
  ModelDriver driver(options, shape, *device.ops, *device.clock, report);
  return Measure(driver);
}

}  // namespace
}  // namespace longhand::bench

int main(int argc, char** argv) {
  longhand::bench::ModelOptions options;
  CLI::App app{"Times whole steps of models in their real sizes, with random weights.",
               "model_bench"};
  app.add_option("--device", options.device)
      ->check(CLI::IsMember({"cuda", "emulated", "cpu", "reference"}))
      ->capture_default_str();
  app.add_option("--shape", options.shape)
      ->check(CLI::IsMember({"7b", "1.5b", "72b", "72b-tp8", "72b-awq-tp8", "tiny", "tiny-tp2"}))
      ->capture_default_str();
  app.add_option("--quantization", options.quantization, "Weights of the layers")
      ->check(CLI::IsMember({"none", "int8", "fp8", "awq"}))
      ->capture_default_str();
  app.add_option("--json", options.json, "File to which a line is appended for each measurement");
  app.add_option("--cells", options.cells, "Decode: batch x context, as in 1x1024,16x4096");
  app.add_option("--prefill", options.prefills, "Tokens of a prompt; 0: none")->delimiter(',');
  app.add_option("--images", options.images, "Images of a step; 0: none")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--max-num-batched-tokens", options.max_num_batched_tokens)->capture_default_str();
  app.add_option("--steps", options.steps)->check(CLI::Range(1, 10000))->capture_default_str();
  app.add_option("--repetitions", options.repetitions)
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Of --device cpu")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--budget-s", options.budget_s,
                 "Begins nothing new after so many seconds; 0: no limit");
  app.add_flag("--greedy", options.greedy, "Instead of temperature 0.6, top_p 0.95");
  app.add_flag("--profile,!--no-profile", options.profile, "Times each operation as well");
  app.add_flag("--graphs,!--no-graphs", options.graphs, "Replays decode steps where possible");
  app.add_flag("--deterministic,!--no-deterministic", options.deterministic,
               "Without: large products go through a library");
  app.add_flag("--compare-graphs", options.compare_graphs,
               "Decode: runs each step both ways and compares them");
  app.add_flag("--compare-batches", options.compare_batches,
               "Compares a sequence alone with batches, and decoding with recomputing");
  CLI11_PARSE(app, argc, argv);
  std::erase(options.images, 0);
  const longhand::Status status = longhand::bench::Run(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "model_bench: %s\n", status.message().c_str());
  return 1;
}
