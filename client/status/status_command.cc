#include "client/status/status_command.h"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <cstdio>

#include "client/connection.h"
#include "common/options/command_line.h"
#include "longhand/v1/cluster.grpc.pb.h"
#include "proto/grpc_status.h"

namespace longhand::client {
namespace {

std::string StateName(v1::GroupState state) {
  switch (state) {
    case v1::GROUP_STATE_CONNECTING:
      return "connecting";
    case v1::GROUP_STATE_LOADING:
      return "loading";
    case v1::GROUP_STATE_READY:
      return "ready";
    case v1::GROUP_STATE_FAILED:
      return "failed";
    default:
      return "unknown";
  }
}

std::string Table(const v1::GetStatusResponse& s) {
  std::string out =
      fmt::format("{}: {}{}{}\n", s.model(), StateName(s.state()), s.draining() ? ", draining" : "",
                  s.detail().empty() ? "" : " (" + s.detail() + ")");
  out += fmt::format("  {} {}, TP {}, context {}, epoch {}, up {} s\n", s.version(), s.dtype(),
                     s.tensor_parallel_size(), s.max_model_len(), s.epoch(), s.uptime_ms() / 1000);
  out += fmt::format(
      "  requests: {} running, {} waiting, {} of them preempted; {} tokens made in {} steps\n",
      s.running_requests(), s.waiting_requests(), s.preempted_requests(), s.generated_tokens(),
      s.steps());
  out += fmt::format(
      "  KV blocks: {} of {} free, {} of these promised, {} tokens each; {} preemptions\n",
      s.kv_blocks_free(), s.kv_blocks_total(), s.kv_blocks_promised(), s.block_size(),
      s.preemptions());
  out +=
      fmt::format("{:>4}  {:<10}  {:>5}  {:>9}  {:>9}  {:>9}  {:>11}  {:>9}  {}\n", "rank", "state",
                  "load", "step", "step ms", "wait ms", "weights MiB", "KV MiB", "device, address");
  for (const v1::RankStatus& rank : s.ranks()) {
    out += fmt::format(
        "{:>4}  {:<10}  {:>4.0f}%  {:>9}  {:>9.2f}  {:>9.2f}  {:>11.1f}  {:>9.1f}  {}, {}\n",
        rank.rank(), StateName(rank.state()), rank.load_progress() * 100, rank.step(),
        static_cast<double>(rank.execute_us()) / 1e3,
        static_cast<double>(rank.communicate_us()) / 1e3,
        static_cast<double>(rank.weight_bytes()) / (1 << 20),
        static_cast<double>(rank.kv_cache_bytes()) / (1 << 20), rank.device(), rank.address());
  }
  return out;
}

}  // namespace

int StatusCommand(const std::vector<std::string>& args) {
  CLI::App app{"Shows what a running cell says of itself.", "longhand status"};
  Endpoint endpoint;
  bool json = false;
  AddEndpointOption(app, endpoint);
  app.add_flag("--json", json, "One JSON object");
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  const auto stub = v1::Cluster::NewStub(Connect(endpoint));
  grpc::ClientContext context;
  v1::GetStatusResponse response;
  const grpc::Status status = stub->GetStatus(&context, v1::GetStatusRequest(), &response);
  if (!status.ok()) return ReportFailure("status", endpoint, FromGrpc(status));
  if (json) {
    google::protobuf::util::JsonPrintOptions options;
    options.always_print_primitive_fields = true;
    options.preserve_proto_field_names = true;
    std::string text;
    if (!google::protobuf::util::MessageToJsonString(response, &text, options).ok())
      return kExitFailed;
    std::printf("%s\n", text.c_str());
  } else {
    std::fputs(Table(response).c_str(), stdout);
  }
  return kExitOk;
}

}  // namespace longhand::client
