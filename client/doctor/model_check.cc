#include "client/doctor/model_check.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>

#include "client/serve/child_process.h"

namespace longhand::client {
namespace {

namespace json = boost::json;

constexpr double kUsable = 0.95;  // of a GPU's memory: its own context, and workspaces

std::string Gib(int64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30));
}

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  lseek(fd, 0, SEEK_SET);
  for (ssize_t count = 0; (count = read(fd, buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<size_t>(count));
  return text;
}

// The sentence of a log or of a diagnosis that says why, without the log's time and level.
std::string LastLine(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (text.empty()) return "it does not say why";
  text = text.substr(text.rfind('\n') + 1);
  const size_t program = text.find(" [coordinator ");
  const size_t end = program == std::string::npos ? program : text.find("] ", program);
  return end == std::string::npos ? text : text.substr(end + 2);
}

struct Plan {
  int64_t weight_bytes = 0;  // the largest rank's
  int64_t kv_bytes_per_token = 0;
  int64_t kv_tokens = 0;  // that fit on this machine
};

bool ParsePlan(const std::string& text, Plan& plan) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_object() || !value.as_object().contains("ranks")) return false;
  for (const json::value& rank : value.at("ranks").as_array()) {
    plan.weight_bytes = std::max(plan.weight_bytes, rank.at("weight_bytes").as_int64());
    plan.kv_bytes_per_token =
        std::max(plan.kv_bytes_per_token, rank.at("kv_bytes_per_token").as_int64());
  }
  plan.kv_tokens = value.at("kv_tokens").as_int64();
  return plan.kv_bytes_per_token > 0;
}

Finding JudgeOnGpus(Finding finding, const Plan& plan, const GpuFacts& gpus) {
  if (gpus.gpus.empty()) {
    finding.verdict = Verdict::kFail;
    finding.advice = "there is no GPU that could hold it";
    return finding;
  }
  const auto smallest =
      std::min_element(gpus.gpus.begin(), gpus.gpus.end(),
                       [](const Gpu& a, const Gpu& b) { return a.memory_bytes < b.memory_bytes; });
  const auto usable = static_cast<int64_t>(kUsable * static_cast<double>(smallest->memory_bytes));
  const int64_t tokens = std::max<int64_t>(0, usable - plan.weight_bytes) / plan.kv_bytes_per_token;
  finding.found +=
      fmt::format(", room for about {} tokens in {}", tokens, Gib(smallest->memory_bytes));
  if (usable > plan.weight_bytes) return finding;
  finding.verdict = Verdict::kFail;
  finding.advice = "the weights do not fit: a larger --tensor-parallel-size, or --quantization fp8";
  return finding;
}

}  // namespace

DryRunResult DryRunOf(const std::filesystem::path& coordinator,
                      const std::vector<std::string>& args) {
  std::vector<std::string> argv = {coordinator.string()};
  argv.insert(argv.end(), args.begin(), args.end());
  argv.insert(argv.end(), {"--dry-run", "--json", "--log-format=text"});
  const int err = memfd_create("stderr", MFD_CLOEXEC);
  Result<ChildProcess> child = ChildProcess::Spawn(argv, err);
  DryRunResult result;
  if (!child.ok()) {
    close(err);
    result.err = child.status().message();
    return result;
  }
  int wait_status = 0;
  while (waitpid(child->pid(), &wait_status, 0) < 0 && errno == EINTR) continue;
  for (const std::string& line : child->ReadLines()) result.out = line;
  result.ran = true;
  result.exit_code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 1;
  result.err = ReadAll(err);
  close(err);
  return result;
}

Finding JudgeModel(const DryRunResult& dry_run, const GpuFacts& gpus, const ServeOptions& options) {
  Finding finding{"model", Verdict::kOk, options.model, ""};
  Plan plan;
  if (!dry_run.ran || dry_run.exit_code != 0 || !ParsePlan(dry_run.out, plan)) {
    finding.verdict = Verdict::kFail;
    finding.advice = LastLine(dry_run.err);
    return finding;
  }
  finding.found += fmt::format(": {} ranks of {} weights, {} KV bytes a token", options.num_ranks(),
                               Gib(plan.weight_bytes), plan.kv_bytes_per_token);
  if (options.device == "cuda") return JudgeOnGpus(std::move(finding), plan, gpus);
  if (plan.kv_tokens > 0) {
    finding.found += fmt::format(", fits with {} tokens", plan.kv_tokens);
    return finding;
  }
  finding.verdict = Verdict::kFail;
  finding.advice = LastLine(dry_run.err);
  return finding;
}

}  // namespace longhand::client
