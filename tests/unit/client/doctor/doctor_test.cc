#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "client/doctor/finding.h"
#include "client/doctor/gpu.h"
#include "client/doctor/host.h"
#include "client/doctor/model_check.h"
#include "client/serve/processors.h"

namespace longhand::client {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

HostFacts GoodHost() {
  HostFacts facts;
  facts.has_avx2 = facts.has_avx512 = true;
  facts.num_processors = 8;
  facts.memory.total_bytes = int64_t{64} << 30;
  facts.memory.available_bytes = int64_t{32} << 30;
  facts.shared_memory = {
      .directory = "/dev/shm", .is_writable = true, .available_bytes = int64_t{1} << 30};
  facts.max_open_files = facts.max_locked_bytes = RLIM_INFINITY;
  facts.unix_time = 1'800'000'000;
  facts.is_synchronised = true;
  facts.journal = {.directory = "/var", .is_writable = true, .available_bytes = int64_t{1} << 40};
  return facts;
}

GpuFacts TwoGpus() {
  GpuFacts facts;
  facts.driver_version = "580.65.06";
  facts.cuda_version = 13000;
  for (int i = 0; i < 2; ++i)
    facts.gpus.push_back(
        {.name = "H100", .memory_bytes = int64_t{80} << 30, .major = 9, .minor = 0});
  facts.nccl_version = 23007;
  return facts;
}

const Finding& Of(const Findings& findings, const std::string& subject) {
  for (const Finding& finding : findings)
    if (finding.subject == subject) return finding;
  static const Finding none{"none", Verdict::kFail, "no finding of " + std::string("that name"),
                            ""};
  return none;
}

TEST(Doctor, AGoodMachineIsWell) {
  ServeOptions options;
  options.tensor_parallel_size = 2;
  for (const Finding& finding : JudgeHost(GoodHost(), options)) {
    EXPECT_EQ(finding.verdict, Verdict::kOk) << finding.subject << ": " << finding.advice;
    EXPECT_EQ(finding.advice, "");
  }
  options.device = "cuda";
  EXPECT_EQ(WorstOf(JudgeGpus(TwoGpus(), options)), Verdict::kOk);
}

TEST(Doctor, RanksShareWhatTheControlGroupAllows) {
  EXPECT_EQ(ThreadsOfRank(/*num_processors=*/8, /*quota=*/0, /*num_ranks=*/3), 2);
  EXPECT_EQ(ThreadsOfRank(8, 4.5, 2), 2);
  EXPECT_EQ(ThreadsOfRank(8, 16, 2), 4);
  EXPECT_EQ(ThreadsOfRank(8, 0.5, 2), 1);
  HostFacts facts = GoodHost();
  facts.processor_quota = 4;
  ServeOptions options;
  options.tensor_parallel_size = 2;
  EXPECT_EQ(Of(JudgeHost(facts, options), "threads").verdict, Verdict::kOk);
  options.threads = 4;
  EXPECT_THAT(Of(JudgeHost(facts, options), "threads").advice, HasSubstr("--threads 2"));
  options.threads = 0;
  options.tensor_parallel_size = 8;
  EXPECT_THAT(Of(JudgeHost(facts, options), "threads").advice, EndsWith("each other: fewer ranks"));
}

TEST(Doctor, RanksThatExchangeNeedSharedMemory) {
  HostFacts facts = GoodHost();
  facts.shared_memory.available_bytes = 1 << 20;
  ServeOptions options;
  EXPECT_EQ(Of(JudgeHost(facts, options), "/dev/shm").verdict, Verdict::kOk);
  options.tensor_parallel_size = 4;
  EXPECT_EQ(Of(JudgeHost(facts, options), "/dev/shm").verdict, Verdict::kFail);
  EXPECT_THAT(Of(JudgeHost(facts, options), "/dev/shm").advice, HasSubstr("32 MiB"));
  options.transport = "gloo";
  EXPECT_EQ(Of(JudgeHost(facts, options), "/dev/shm").verdict, Verdict::kOk);
}

TEST(Doctor, WhatIsShortIsNamedWithWhatToDo) {
  ServeOptions options;
  options.threads = 9;
  HostFacts facts = GoodHost();
  facts.has_avx512 = false;
  facts.max_open_files = 1024;
  facts.is_synchronised = false;
  facts.journal.available_bytes = 1;
  facts.memory.limit_bytes = int64_t{4} << 30;
  const Findings findings = JudgeHost(facts, options);
  for (const char* subject : {"processor", "threads", "memory", "open files", "clock", "journal"}) {
    EXPECT_EQ(Of(findings, subject).verdict, Verdict::kWarn) << subject;
    EXPECT_NE(Of(findings, subject).advice, "") << subject;
  }
  facts.has_avx2 = false;
  facts.journal.is_writable = false;
  facts.unix_time = 0;
  for (const char* subject : {"processor", "journal", "clock"})
    EXPECT_EQ(Of(JudgeHost(facts, options), subject).verdict, Verdict::kFail) << subject;
  options.journal = "none";
  EXPECT_EQ(Of(JudgeHost(facts, options), "journal").verdict, Verdict::kOk);
}

TEST(Doctor, GpusAreMissedOnlyWhereTheyAreAskedFor) {
  GpuFacts none;
  none.driver_error = "libcuda.so.1: cannot open shared object file";
  none.nccl_error = "libnccl.so.2: cannot open shared object file";
  ServeOptions options;
  EXPECT_EQ(WorstOf(JudgeGpus(none, options)), Verdict::kOk);
  EXPECT_EQ(Of(JudgeGpus(none, options), "CUDA").found, "no kernel module; none is needed here");
  options.device = "cuda";
  options.tensor_parallel_size = 2;
  const Findings findings = JudgeGpus(none, options);
  for (const char* subject : {"CUDA", "GPUs", "NCCL"})
    EXPECT_EQ(Of(findings, subject).verdict, Verdict::kFail) << subject;
  EXPECT_THAT(Of(findings, "NCCL").advice, HasSubstr("LD_LIBRARY_PATH"));
}

TEST(Doctor, GpusThatCannotServeAreNamed) {
  ServeOptions options;
  options.device = "cuda";
  options.tensor_parallel_size = 4;
  GpuFacts facts = TwoGpus();
  facts.cuda_version = 12040;
  facts.gpus[0].is_prohibited = true;
  facts.gpus[1].major = 7;
  facts.nccl_version = 21705;
  const Findings findings = JudgeGpus(facts, options);
  for (const char* subject : {"CUDA", "GPU 0", "GPU 1", "GPUs", "NCCL"})
    EXPECT_EQ(Of(findings, subject).verdict, Verdict::kFail) << subject;
  EXPECT_THAT(Of(findings, "CUDA").found, HasSubstr("CUDA 12.4"));
  EXPECT_THAT(Of(findings, "GPUs").found, HasSubstr("2 for 4 ranks"));
}

TEST(Doctor, AModelFitsWhereItsLargestRankDoes) {
  ServeOptions options;
  options.model = "org/model";
  DryRunResult plan{
      .ran = true,
      .out =
          R"({"ranks":[{"weight_bytes":75161927680,"kv_bytes_per_token":40960}],"kv_tokens":4096})"};
  EXPECT_EQ(JudgeModel(plan, {}, options).verdict, Verdict::kOk);
  options.device = "cuda";
  EXPECT_EQ(JudgeModel(plan, {}, options).verdict, Verdict::kFail);
  GpuFacts gpus = TwoGpus();
  EXPECT_EQ(JudgeModel(plan, gpus, options).verdict, Verdict::kOk);
  gpus.gpus[1].memory_bytes = int64_t{40} << 30;
  EXPECT_EQ(JudgeModel(plan, gpus, options).verdict, Verdict::kFail);
}

TEST(Doctor, AModelThatDoesNotFitIsToldWhy) {
  ServeOptions options;
  const DryRunResult too_large{
      .ran = true,
      .out = R"({"ranks":[{"weight_bytes":9,"kv_bytes_per_token":9}],"kv_tokens":0})",
      .err = "rank 0\nOn this machine: the weights need 9 bytes\n"};
  EXPECT_EQ(JudgeModel(too_large, {}, options).verdict, Verdict::kFail);
  EXPECT_EQ(JudgeModel(too_large, {}, options).advice, "On this machine: the weights need 9 bytes");
  const DryRunResult refused{
      .ran = true,
      .exit_code = 2,
      .err = "2026-01-01 00:00:00.000 error [coordinator 4711] config.json is missing\n"};
  EXPECT_EQ(JudgeModel(refused, {}, options).advice, "config.json is missing");
}

TEST(Doctor, AdviceStandsUnderItsFinding) {
  const Findings findings = {{"clock", Verdict::kOk, "set", ""},
                             {"/dev/shm", Verdict::kFail, "none", "mount it"}};
  EXPECT_EQ(FindingsTable(findings, false),
            "ok    clock     set\n"
            "fail  /dev/shm  none\n"
            "                -> mount it\n");
  EXPECT_THAT(FindingsJson(findings), HasSubstr(R"("verdict":"fail")"));
}

}  // namespace
}  // namespace longhand::client
