#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "client/doctor/host.h"
#include "client/serve/processors.h"

namespace longhand::client {
namespace {

constexpr int64_t kSharedBytesPerRank = int64_t{8}
                                        << 20;  // exchange buffers of a communicator, and room
constexpr uint64_t kOtherFiles = 1024;
constexpr int64_t kOldestTime = 1'735'689'600;  // 2025-01-01: no clock that is set shows less

std::string Gib(int64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30));
}

Finding JudgeProcessor(const HostFacts& facts, const ServeOptions& options) {
  std::string features;
  for (const auto& [has, name] : {std::pair{facts.has_avx2, "AVX2"},
                                  {facts.has_avx512, "AVX-512"},
                                  {facts.has_vnni, "VNNI"},
                                  {facts.has_bf16, "bf16"}})
    if (has) features += std::string(features.empty() ? "" : ", ") + name;
  Finding finding{
      "processor", Verdict::kOk,
      facts.processor + "; " + (features.empty() ? "neither AVX2 nor AVX-512" : features), ""};
  if (options.device != "cpu" || facts.has_avx512) return finding;
  finding.verdict = facts.has_avx2 ? Verdict::kWarn : Verdict::kFail;
  finding.advice =
      facts.has_avx2
          ? "AVX2 serves; AVX-512 is faster"
          : "--device cpu needs AVX2 with FMA or AVX-512: serve on another machine, or with "
            "--device cuda";
  return finding;
}

Finding JudgeThreads(const HostFacts& facts, const ServeOptions& options) {
  Finding finding{"threads", Verdict::kOk, fmt::format("{} processors", facts.num_processors), ""};
  if (facts.processor_quota > 0)
    finding.found += fmt::format(", {:.1f} by the control group", facts.processor_quota);
  const int ranks = options.num_ranks();
  const int threads = options.threads > 0
                          ? options.threads
                          : ThreadsOfRank(facts.num_processors, facts.processor_quota, ranks);
  const double usable = facts.processor_quota > 0
                            ? std::min<double>(facts.processor_quota, facts.num_processors)
                            : facts.num_processors;
  finding.found += fmt::format("; {} threads for each rank", threads);
  if (options.device == "cpu" && ranks * threads > usable + 0.01) {
    finding.verdict = Verdict::kWarn;
    const int fewer = ThreadsOfRank(facts.num_processors, facts.processor_quota, ranks);
    finding.advice = "more threads than processors wait for each other: ";
    if (fewer < threads) finding.advice += fmt::format("--threads {} or ", fewer);
    finding.advice += "fewer ranks";
  }
  return finding;
}

Finding JudgeMemory(const HostFacts& facts) {
  Finding finding{
      "memory", Verdict::kOk,
      Gib(facts.memory.available_bytes) + " available of " + Gib(facts.memory.total_bytes), ""};
  if (facts.memory.limit_bytes > 0)
    finding.found += ", limit of the control group " + Gib(facts.memory.limit_bytes);
  if (facts.memory.limit_bytes > 0 && facts.memory.limit_bytes < facts.memory.available_bytes) {
    finding.verdict = Verdict::kWarn;
    finding.advice =
        "the limit, not what is available, is what a server may take: set --kv-cache-memory-bytes";
  }
  return finding;
}

Finding JudgeSharedMemory(const HostFacts& facts, const ServeOptions& options) {
  const DiskSpace& shm = facts.shared_memory;
  Finding finding{
      "/dev/shm", Verdict::kOk,
      fmt::format("{:.0f} MiB available", static_cast<double>(shm.available_bytes) / (1 << 20)),
      ""};
  const int64_t needed = kSharedBytesPerRank * options.num_ranks();
  const bool is_used = options.tensor_parallel_size > 1 && options.transport != "gloo";
  if (!is_used || (shm.is_writable && shm.available_bytes >= needed)) return finding;
  finding.verdict = Verdict::kFail;
  finding.advice = fmt::format(
      "ranks of one machine exchange through it and need about {} MiB: mount a larger one (docker "
      "--shm-size, an emptyDir with medium Memory), or --transport gloo",
      needed >> 20);
  return finding;
}

Finding JudgeOpenFiles(const HostFacts& facts, const ServeOptions& options) {
  const bool is_unlimited = facts.max_open_files == RLIM_INFINITY;
  Finding finding{"open files", Verdict::kOk,
                  is_unlimited ? "no limit" : fmt::format("at most {}", facts.max_open_files), ""};
  const uint64_t needed = static_cast<uint64_t>(options.max_http_connections) + kOtherFiles;
  if (is_unlimited || facts.max_open_files >= needed) return finding;
  finding.verdict = Verdict::kWarn;
  finding.advice = fmt::format(
      "--max-http-connections {} needs {}: raise the hard limit (ulimit -Hn, LimitNOFILE=), or "
      "have fewer",
      options.max_http_connections, needed);
  return finding;
}

Finding JudgeLockedMemory(const HostFacts& facts, const ServeOptions& options) {
  const bool is_unlimited = facts.max_locked_bytes == RLIM_INFINITY;
  Finding finding{
      "locked memory", Verdict::kOk,
      is_unlimited ? "no limit" : fmt::format("at most {} KiB", facts.max_locked_bytes >> 10), ""};
  if (is_unlimited || options.device != "cuda") return finding;
  finding.verdict = Verdict::kWarn;
  finding.advice =
      "NCCL over InfiniBand registers memory: ulimit -l unlimited, LimitMEMLOCK=infinity";
  return finding;
}

Finding JudgeJournal(const HostFacts& facts, const ServeOptions& options) {
  const DiskSpace& disk = facts.journal;
  if (options.journal == "none")
    return {"journal", Verdict::kOk, "none: requests do not outlive the coordinator", ""};
  Finding finding{"journal", Verdict::kOk,
                  Gib(disk.available_bytes) + " available in " + disk.directory, ""};
  if (!disk.is_writable) {
    finding.verdict = Verdict::kFail;
    finding.advice =
        disk.directory +
        " cannot be written: --journal DIR names another place, --journal none goes without";
  } else if (disk.available_bytes < options.journal_max_bytes) {
    finding.verdict = Verdict::kWarn;
    finding.advice = fmt::format("--journal-max-bytes lets it grow to {}: less, or a larger disk",
                                 Gib(options.journal_max_bytes));
  }
  return finding;
}

Finding JudgeClock(const HostFacts& facts) {
  if (facts.unix_time < kOldestTime)
    return {"clock", Verdict::kFail, "it is not set",
            "certificates and the journal's ages need the time: start an NTP client"};
  if (facts.is_synchronised) return {"clock", Verdict::kOk, "synchronised", ""};
  return {"clock", Verdict::kWarn, "set, not known to be synchronised",
          "logs of several hosts compare only with NTP"};
}

}  // namespace

Findings JudgeHost(const HostFacts& facts, const ServeOptions& options) {
  return {JudgeProcessor(facts, options),
          JudgeThreads(facts, options),
          JudgeMemory(facts),
          JudgeSharedMemory(facts, options),
          JudgeOpenFiles(facts, options),
          JudgeLockedMemory(facts, options),
          JudgeJournal(facts, options),
          JudgeClock(facts)};
}

}  // namespace longhand::client
