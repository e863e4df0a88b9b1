// The command line, as scripts use it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tests/e2e/local_cluster.h"
#include "tests/e2e/requests.h"

namespace longhand::e2e {
namespace {

using ::testing::HasSubstr;

TEST(CommandLine, GenerateSpeaksOfAPhotographInJson) {
  LocalCluster cluster(TestCheckpointPath(), {"--tp", "2", "--threads", "1", "--dtype", "float32"});
  const parity::Recording& recording = parity::TestRecording();
  setenv("LONGHAND_MODEL", "/models/served", 1);  // A directory: of `serve`.
  const CommandResult result = RunLonghand(
      {"generate", "--endpoint", cluster.grpc_address(), "--json", "--prompt",
       "What is in this photograph?", "--image", recording.ImagePath("photograph.jpg").string(),
       "--temperature", "0", "--repetition-penalty", "1", "--ignore-eos", "--max-tokens", "64"});
  unsetenv("LONGHAND_MODEL");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const boost::json::object answer = boost::json::parse(result.out).as_object();
  std::vector<int32_t> token_ids;
  for (const auto& id : answer.at("token_ids").as_array())
    token_ids.push_back(static_cast<int32_t>(id.as_int64()));
  EXPECT_EQ(token_ids, recording.Ints("case/photograph/greedy_ids"));
  EXPECT_EQ(answer.at("finish_reason").as_string(), "length");
  EXPECT_EQ(answer.at("usage").as_object().at("completion_tokens").as_int64(), 64);
  EXPECT_EQ(answer.at("usage").as_object().at("prompt_tokens").as_int64(),
            static_cast<int64_t>(answer.at("prompt_token_ids").as_array().size()));
}

TEST(CommandLine, SeveralAnswersAreShownOneAfterTheOther) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1"});
  const std::vector<std::string> request = {
      "generate", "--endpoint", cluster.grpc_address(), "--prompt", "Hi",          "--n", "3",
      "--seed",   "5",          "--max-tokens",         "20",       "--ignore-eos"};
  std::vector<std::string> for_machines = request;
  for_machines.push_back("--json");
  std::string expected;
  const boost::json::value answer = boost::json::parse(RunLonghand(for_machines).out);
  const boost::json::array& choices = answer.at("choices").as_array();
  for (size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) expected += "\n--- choice " + std::to_string(i) + " ---\n";
    expected += choices[i].at("text").as_string();
  }
  EXPECT_EQ(choices.size(), 3u);
  EXPECT_EQ(RunLonghand(request).out, expected + "\n");
}

TEST(CommandLine, AnswersWithoutAServerSayWhatToDo) {
  const CommandResult result =
      RunLonghand({"generate", "--endpoint", "unix:/nowhere/at/all", "--prompt", "Hi"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("UNAVAILABLE"));
  EXPECT_THAT(result.err, HasSubstr("without TLS (else --tls-ca)"));
  EXPECT_THAT(result.err, HasSubstr("longhand serve --model DIR"));
}

// More often than it would be without --retry-for.
TEST(CommandLine, AServerThatWasNeverThereIsTriedForAsLongAsIsSaid) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  RunningCommand command({"generate", "--prompt", "Hi", "--retry-for", "3600", "--endpoint",
                          "127.0.0.1:" + std::to_string(ntohs(address.sin_port))});
  for (int i = 0; i < 12; ++i) {
    pollfd comes{listener, POLLIN, 0};
    ASSERT_EQ(poll(&comes, 1, std::chrono::milliseconds(kPatience).count()), 1) << i;
    close(accept(listener, nullptr, nullptr));
  }
  close(listener);
  command.Signal(SIGTERM);
  EXPECT_EQ(command.Wait().exit_code, 128 + SIGTERM);
}

TEST(CommandLine, ACoordinatorThatStartsAgainIsWaitedFor) {
  LocalCluster cluster(TestCheckpointPath(), {"--threads", "1"});
  ASSERT_EQ(kill(cluster.coordinator_pid(), SIGKILL), 0);
  const CommandResult result = RunLonghand(
      {"generate", "--endpoint", cluster.grpc_address(), "--prompt", "Hi", "--max-tokens", "3"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST(CommandLine, UsageErrorsExitWithTwo) {
  EXPECT_EQ(RunLonghand({}).exit_code, 2);
  EXPECT_EQ(RunLonghand({"dance"}).exit_code, 2);
  EXPECT_EQ(RunLonghand({"generate", "--temperature", "warm"}).exit_code, 2);
  EXPECT_THAT(RunLonghand({"attach", "id", "--from", "0"}).err,
              HasSubstr("--from: Value 0 not in range 1 to 9223372036854775807\n"));
  const CommandResult seed = RunLonghand({"generate", "--prompt", "Hi", "--seed", "-1"});
  EXPECT_EQ(seed.exit_code, 2);
  EXPECT_THAT(seed.err, HasSubstr("it must be from 0 to 18446744073709551615"));
  for (const char* bias : {"5", "=1", "5=", "x=1", "5=1x", "5:1"}) {
    const CommandResult biased = RunLonghand({"generate", "--prompt", "Hi", "--logit-bias", bias});
    EXPECT_NE(biased.exit_code, 0) << bias;
    EXPECT_THAT(biased.err, HasSubstr("it must be a token id, =, and a number"));
  }
  const CommandResult authority = RunLonghand({"status", "--tls-ca", "/nowhere/ca.pem"});
  EXPECT_EQ(authority.exit_code, 2);
  EXPECT_THAT(authority.err, HasSubstr("--tls-ca: /nowhere/ca.pem cannot be read\n"));
  EXPECT_EQ(RunLonghand({"serve"}).exit_code, 2);
  EXPECT_EQ(RunLonghand({"serve", "--help"}).exit_code, 0);
}

// config.json of the published checkpoints, as far as a plan needs it.
std::string PublishedConfig(
    int hidden, int layers, int heads, int kv_heads, int ffn, int vision_ffn) {
  std::ostringstream out;
  out << R"({"model_type":"qwen2_5_vl","torch_dtype":"bfloat16","hidden_size":)" << hidden
      << R"(,"num_hidden_layers":)" << layers << R"(,"num_attention_heads":)" << heads
      << R"(,"num_key_value_heads":)" << kv_heads << R"(,"intermediate_size":)" << ffn
      << R"(,"vocab_size":152064,"max_position_embeddings":128000,"rms_norm_eps":1e-6,"rope_theta":1000000.0,)"
      << R"("image_token_id":151655,"video_token_id":151656,"vision_start_token_id":151652,"eos_token_id":151645,)"
      << R"("tie_word_embeddings":false,"rope_scaling":{"type":"mrope","mrope_section":[16,24,24]},)"
      << R"("vision_config":{"depth":32,"hidden_size":1280,"intermediate_size":)" << vision_ffn
      << R"(,"num_heads":16,"out_hidden_size":)" << hidden
      << R"(,"patch_size":14,"spatial_merge_size":2,"temporal_patch_size":2,"window_size":112,)"
      << R"("fullatt_block_indexes":[7,15,23,31]}})";
  return out.str();
}

TEST(CommandLine, ADryRunNeedsOnlyTheConfigurationOfTheLargeModels) {
  const testing::TempDirectory directory;
  directory.Write("config.json", PublishedConfig(8192, 80, 64, 8, 29568, 3456));
  const CommandResult large = RunLonghand(
      {"serve", "--dry-run", "--json", "--model", directory.path().string(), "--tp", "8"});
  ASSERT_EQ(large.exit_code, 0) << large.err;
  const boost::json::object plan = boost::json::parse(large.out).as_object();
  ASSERT_EQ(plan.at("ranks").as_array().size(), 8u);
  const boost::json::object& rank = plan.at("ranks").as_array()[0].as_object();
  // One of 8 KV heads: 2 (K, V) x 80 layers x 128 x 2 bytes.
  EXPECT_EQ(rank.at("kv_bytes_per_token").as_int64(), 40960);
  EXPECT_GT(rank.at("weight_bytes").as_int64(), int64_t{17} << 30);
  EXPECT_TRUE(plan.contains("kv_tokens"));
  EXPECT_THAT(large.err, HasSubstr("rank"));

  const CommandResult groups = RunLonghand({"serve", "--dry-run", "--json", "--model",
                                            directory.path().string(), "--tp", "8", "--dp", "2"});
  const boost::json::object plan_of_both = boost::json::parse(groups.out).as_object();
  ASSERT_EQ(plan_of_both.at("ranks").as_array().size(), 16u);
  EXPECT_EQ(plan_of_both.at("ranks").at(15).at("group").as_int64(), 1);
  EXPECT_EQ(plan_of_both.at("ranks").at(15).at("rank").as_int64(), 7);
  EXPECT_EQ(plan_of_both.at("data_parallel_size").as_int64(), 2);

  directory.Write("config.json", PublishedConfig(3584, 28, 28, 4, 18944, 3420));
  const CommandResult four =
      RunLonghand({"serve", "--dry-run", "--model", directory.path().string(), "--tp", "4"});
  EXPECT_EQ(four.exit_code, 0) << four.err;
  EXPECT_THAT(four.out, HasSubstr("KV bytes/token"));
  const CommandResult eight =
      RunLonghand({"serve", "--dry-run", "--model", directory.path().string(), "--tp", "8"});
  EXPECT_NE(eight.exit_code, 0);
  EXPECT_THAT(eight.err, HasSubstr("28"));
}

TEST(CommandLine, ABrokenCheckpointIsNamedAndServeEnds) {
  const testing::TempDirectory directory;
  std::filesystem::copy(TestCheckpointPath(), directory.path());
  std::filesystem::resize_file(directory / "model-00002-of-00002.safetensors", 1000);
  const CommandResult result =
      RunLonghand({"serve", "--model", directory.path().string(), "--http-address", "127.0.0.1:0",
                   "--grpc-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("model-00002-of-00002.safetensors"));
  EXPECT_THAT(result.err, HasSubstr("configuration: --model=" + directory.path().string()));
  EXPECT_THAT(result.err, HasSubstr(" --max-num-seqs=64 "));
  std::filesystem::remove(directory / "tokenizer.json");
  const CommandResult no_tokenizer =
      RunLonghand({"serve", "--model", directory.path().string(), "--http-address", "127.0.0.1:0",
                   "--grpc-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"});
  EXPECT_NE(no_tokenizer.exit_code, 0);
  EXPECT_THAT(no_tokenizer.err, HasSubstr("tokenizer.json"));
}

TEST(CommandLine, AReadyFileThatCannotBeWrittenEndsServeAtOnce) {
  const testing::TempDirectory directory;
  for (const std::string& path :
       {(directory / "no/ready.json").string(), directory.path().string()}) {
    const CommandResult result = RunLonghand(
        {"serve", "--model", TestCheckpointPath(), "--ready-file", path, "--http-address",
         "127.0.0.1:0", "--grpc-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("--ready-file " + path));
  }
}

std::vector<std::string> DoctorOnFreePorts(const std::string& model) {
  return {"doctor",
          "--json",
          "--model",
          model,
          "--http-address",
          "127.0.0.1:0",
          "--grpc-address",
          "127.0.0.1:0",
          "--metrics-address",
          "127.0.0.1:0"};
}

TEST(CommandLine, DoctorSaysWhetherAModelFits) {
  const auto verdict_on_model = [](const CommandResult& result) {
    const boost::json::value report = boost::json::parse(result.out);
    for (const auto& check : report.at("checks").as_array())
      if (check.at("subject").as_string() == "model")
        return std::string(check.at("verdict").as_string());
    return std::string("none");
  };
  EXPECT_EQ(verdict_on_model(RunLonghand(DoctorOnFreePorts(TestCheckpointPath()))), "ok");
  const testing::TempDirectory directory;
  directory.Write("config.json", PublishedConfig(8192, 80, 64, 8, 29568, 3456));
  std::vector<std::string> args = DoctorOnFreePorts(directory.path().string());
  args.insert(args.end(), {"--max-model-len", "16777216", "--kv-cache-memory-bytes", "4096 GB"});
  const CommandResult too_large = RunLonghand(args);
  EXPECT_EQ(too_large.exit_code, 1);
  EXPECT_EQ(verdict_on_model(too_large), "fail");
}

TEST(CommandLine, StatusIsWatchedAndBenchMeasuresOverGrpc) {
  LocalCluster cluster(TestCheckpointPath(), {"--tp", "2", "--threads", "1", "--dtype", "float32"});
  RunningCommand watch(
      {"status", "--watch", "--interval", "0.1", "--endpoint", cluster.grpc_address()});
  EXPECT_TRUE(watch.WaitForOutput("rank 1 ready"));
  const CommandResult bench = RunLonghand({"bench", "serve", "--endpoint", cluster.grpc_address(),
                                           "--json", "--num-prompts", "3", "--prompt-words", "8",
                                           "--max-tokens", "5", "--ignore-eos"});
  ASSERT_EQ(bench.exit_code, 0) << bench.err;
  const boost::json::object report = boost::json::parse(bench.out).as_object();
  EXPECT_EQ(report.at("completed").as_int64(), 3);
  EXPECT_EQ(report.at("total_output_tokens").as_int64(), 15);
  watch.Signal(SIGTERM);
  watch.Wait();
}

TEST(CommandLine, ChaosKillsAClusterOfItsOwnOrOneThatRuns) {
  const CommandResult own = RunLonghand({"chaos", "--model", TestCheckpointPath(), "--worker-kills",
                                         "1", "--streams", "2", "--max-tokens", "60", "--json"});
  ASSERT_EQ(own.exit_code, 0) << own.err;
  EXPECT_THAT(own.out, HasSubstr("\"faults\":[]"));
  LocalCluster cluster(TestCheckpointPath(), {"--tp", "2"});
  const CommandResult running =
      RunLonghand({"chaos", "--ready-file", cluster.ready_file().string(), "--coordinator-kills",
                   "1", "--streams", "2", "--max-tokens", "60"});
  EXPECT_EQ(running.exit_code, 0) << running.err;
  EXPECT_THAT(running.out, HasSubstr("coordinators killed       1"));
  EXPECT_THAT(running.out, HasSubstr("nothing was lost, doubled or changed"));
}

}  // namespace
}  // namespace longhand::e2e
