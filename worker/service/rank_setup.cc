#include "worker/service/rank_setup.h"

#include <initializer_list>
#include <iterator>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

namespace longhand::service {
namespace {

namespace wire = worker::v1;

Result<DType> ParseDType(const char* field,
                         const std::string& name,
                         std::initializer_list<DType> allowed) {
  std::string names;
  for (const DType dtype : allowed) {
    if (name == DTypeName(dtype)) return dtype;
    if (!names.empty()) names += dtype == *std::prev(allowed.end()) ? " or " : ", ";
    names += DTypeName(dtype);
  }
  return InvalidArgument(field, " is '", name, "'; it must be ", names);
}

Result<comm::Transport> ParseTransport(wire::Transport transport) {
  switch (transport) {
    case wire::TRANSPORT_SINGLE:
      return comm::Transport::kSingle;
    case wire::TRANSPORT_SHARED_MEMORY:
      return comm::Transport::kSharedMemory;
    case wire::TRANSPORT_GLOO:
      return comm::Transport::kGloo;
    case wire::TRANSPORT_NCCL:
      return comm::Transport::kNccl;
    default:
      return InvalidArgument("transport is ", static_cast<int>(transport),
                             "; it must be SINGLE, SHARED_MEMORY, GLOO or NCCL");
  }
}

// "[::1]" is an address and port's way to write "::1".
std::string WithoutBrackets(const std::string& host) {
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  return bracketed ? host.substr(1, host.size() - 2) : host;
}

// Name, size and time of every file, in order of names.
std::string Fingerprint(const std::filesystem::path& directory) {
  std::set<std::string> files;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code unknown;
    std::ostringstream file;
    file << it->path().filename().string() << ' ' << it->file_size(unknown) << ' '
         << it->last_write_time(unknown).time_since_epoch().count();
    files.insert(file.str());
  }
  std::string all;
  for (const std::string& file : files) all += file + '\n';
  return all;
}

}  // namespace

Result<RankSetup> RankSetup::FromWire(const wire::ConfigureRequest& request) {
  if (request.epoch() <= 0) {
    return InvalidArgument("epoch is ", request.epoch(), "; epochs count from 1");
  }
  if (request.rank() < 0 || request.rank() >= request.tensor_parallel_size()) {
    return InvalidArgument("rank is ", request.rank(),
                           "; it must be from 0 to below tensor_parallel_size, which is ",
                           request.tensor_parallel_size());
  }
  RankSetup setup;
  setup.epoch = request.epoch();
  setup.group = request.group();
  setup.model_directory = request.model_directory();
  setup.rendezvous_address = request.rendezvous_address();

  runner::RunnerConfig& runner = setup.runner;
  LONGHAND_ASSIGN_OR_RETURN(runner.dtype,
                            ParseDType("dtype", request.dtype(), {DType::kF32, DType::kBf16}));
  LONGHAND_ASSIGN_OR_RETURN(runner.kv_dtype,
                            ParseDType("kv_cache_dtype", request.kv_cache_dtype(),
                                       {DType::kF32, DType::kBf16, DType::kI8, DType::kF8E4M3}));
  LONGHAND_ASSIGN_OR_RETURN(runner.quantization, ParseQuantization(request.quantization()));
  runner.num_blocks = request.num_blocks();
  runner.num_host_blocks = request.num_host_blocks();
  runner.block_size = request.block_size();
  runner.max_num_batched_tokens = request.max_num_batched_tokens();
  runner.max_num_seqs = request.max_num_seqs();
  runner.max_model_len = request.max_model_len();
  runner.encoder_cache_tokens = request.encoder_cache_tokens();
  runner.image_bytes = request.image_bytes();
  runner.max_patches_per_image = request.max_patches_per_image();
  runner.max_loras = request.max_loras();
  runner.max_lora_rank = request.max_lora_rank();
  for (const wire::Adapter& adapter : request.adapters())
    setup.adapters.push_back(AdapterSetup::FromWire(adapter));
  runner.memory_bytes = request.memory_bytes();
  runner.deterministic = !request.may_vary();

  comm::CommunicatorConfig& communicator = setup.communicator;
  communicator.rank = request.rank();
  communicator.size = request.tensor_parallel_size();
  communicator.group = request.group_name();
  communicator.epoch = request.epoch();
  LONGHAND_ASSIGN_OR_RETURN(communicator.transport, ParseTransport(request.transport()));
  communicator.timeout = std::chrono::milliseconds(request.collective_timeout_ms());
  communicator.host = WithoutBrackets(request.bind_address());
  const bool meets = communicator.transport == comm::Transport::kGloo ||
                     communicator.transport == comm::Transport::kNccl;
  if (meets && setup.rendezvous_address.empty()) {
    return InvalidArgument("transports GLOO and NCCL need a rendezvous_address");
  }
  return setup;
}

std::string RankSetup::ShardKey() const {
  std::ostringstream key;
  key << model_directory.string() << ' ' << communicator.rank << ' ' << communicator.size << ' '
      << DTypeName(runner.dtype) << ' ' << DTypeName(runner.kv_dtype) << ' '
      << QuantizationName(runner.quantization) << ' ' << runner.num_blocks << ' '
      << runner.num_host_blocks << ' ' << runner.block_size << ' ' << runner.max_num_batched_tokens
      << ' ' << runner.max_num_seqs << ' ' << runner.max_model_len << ' '
      << runner.encoder_cache_tokens << ' ' << runner.image_bytes << ' '
      << runner.max_patches_per_image << ' ' << runner.deterministic << ' ' << runner.max_loras
      << ' ' << runner.max_lora_rank << '\n'
      << Fingerprint(model_directory);
  return key.str();
}

Result<std::unique_ptr<runner::ModelRunner>> LoadRunner(int num_threads,
                                                        const RankSetup& setup,
                                                        kernels::Ops& ops,
                                                        comm::Communicator& communicator,
                                                        const model::LoadProgress& progress) {
  runner::RunnerConfig config = setup.runner;
  config.load_threads = num_threads;
  LONGHAND_ASSIGN_OR_RETURN(config.model, ModelConfig::Load(setup.model_directory));
  return runner::ModelRunner::Create(config, ops, communicator, progress);
}

}  // namespace longhand::service
