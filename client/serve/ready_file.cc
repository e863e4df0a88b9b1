#include "client/serve/ready_file.h"

#include <boost/json.hpp>
#include <fstream>
#include <iterator>

namespace longhand::client {

Result<ReadyFile> ReadyFile::Read(const std::filesystem::path& path) {
  std::ifstream in(path);
  if (!in) return Unavailable(path.string(), " cannot be read; the cluster is not ready");
  const std::string text(std::istreambuf_iterator<char>(in), {});
  ReadyFile file;
  try {
    const boost::json::object ready = boost::json::parse(text).as_object();
    file.http = ready.at("http").as_string();
    file.grpc = ready.at("grpc").as_string();
    file.metrics = ready.at("metrics").as_string();
    for (const auto& address : ready.at("worker_metrics").as_array())
      file.worker_metrics.emplace_back(address.as_string());
    const boost::json::object& pids = ready.at("pids").as_object();
    file.coordinator = pids.at("coordinator").to_number<pid_t>();
    for (const auto& pid : pids.at("workers").as_array())
      file.workers.push_back(pid.to_number<pid_t>());
  } catch (const std::exception& error) {
    return InvalidArgument(path.string(), " is not what --ready-file writes: ", error.what());
  }
  return file;
}

}  // namespace longhand::client
