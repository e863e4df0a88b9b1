// RankSetup: a worker's place in a group, as a ConfigureRequest gives it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "longhand/worker/v1/worker.pb.h"
#include "worker/comm/create_communicator.h"
#include "worker/runner/model_runner.h"

namespace longhand::service {

struct AdapterSetup {
  int64_t slot = 0;
  std::filesystem::path directory;
  std::string identity;  // a slot that has it keeps what it has

  static AdapterSetup FromWire(const worker::v1::Adapter& wire) {
    return {wire.slot(), wire.directory(), wire.identity()};
  }
};

struct RankSetup {
  int64_t epoch = 0;
  std::string group;  // for metrics; empty: the only one
  std::filesystem::path model_directory;
  runner::RunnerConfig
      runner;  // without `model`, which is read from the directory when it is needed
  comm::CommunicatorConfig communicator;
  std::string rendezvous_address;
  std::vector<AdapterSetup> adapters;

  // kInvalidArgument naming the field, what it is and what it may be.
  static Result<RankSetup> FromWire(const worker::v1::ConfigureRequest& request);

  // Equal for two setups that need the same weights and memory: what lies behind the directory's
  // files included, as far as their sizes and times tell.
  std::string ShardKey() const;
};

// How an executor comes to its runner; a test may have its own.
using RunnerFactory = std::function<Result<std::unique_ptr<runner::ModelRunner>>(
    const RankSetup& setup,
    kernels::Ops& ops,
    comm::Communicator& communicator,
    const model::LoadProgress& progress)>;

// Reads the checkpoint's configuration and loads this rank's shard, with so many threads.
Result<std::unique_ptr<runner::ModelRunner>> LoadRunner(int num_threads,
                                                        const RankSetup& setup,
                                                        kernels::Ops& ops,
                                                        comm::Communicator& communicator,
                                                        const model::LoadProgress& progress);

}  // namespace longhand::service
