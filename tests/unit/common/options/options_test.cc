#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <fstream>

#include "common/options/address_check.h"
#include "common/options/command_line.h"
#include "common/options/help_text.h"
#include "common/options/nearest_name.h"
#include "common/options/serve_options.h"

namespace longhand {
namespace {

using ::testing::IsSupersetOf;

class OptionsTest : public testing::Test {
 protected:
  OptionsTest() {
    AddServeOptions(app_, options_);
    app_.add_option("--config", config_);
  }

  std::string WriteYaml(const std::string& text) {
    const std::string path = testing::TempDir() + "longhand_options_test.yaml";
    std::ofstream(path) << text;
    return path;
  }

  CLI::App app_{"test", "longhand serve"};
  ServeOptions options_;
  std::string config_;
};

TEST_F(OptionsTest, AFlagWinsOverTheEnvironmentAndThatOverTheFile) {
  const std::string path = WriteYaml("block-size: 32\nmax-num-seqs: 7\nthreads: 3\n");
  setenv("LONGHAND_MAX_NUM_SEQS", "8", 1);
  setenv("LONGHAND_THREADS", "4", 1);
  const auto exit = ParseCommandLine(app_, {"--config", path, "--threads", "5"});
  unsetenv("LONGHAND_MAX_NUM_SEQS");
  unsetenv("LONGHAND_THREADS");
  EXPECT_EQ(exit, std::nullopt);
  EXPECT_EQ(options_.block_size, 32);
  EXPECT_EQ(options_.max_num_seqs, 8);
  EXPECT_EQ(options_.threads, 5);
}

TEST_F(OptionsTest, AListIsThatOfWhoHasTheLastWord) {
  const std::string path = WriteYaml("lora-modules: [a=/file, b=/file]\ntenant-weights: [t=1]\n");
  setenv("LONGHAND_LORA_MODULES", "a=/environment,c=/environment", 1);
  const auto exit = ParseCommandLine(app_, {"--config", path, "--allowed-origins", "https://a.org",
                                            "--allowed-origins=https://b.org"});
  // What `longhand serve` hands to its coordinator, which has the same environment.
  CLI::App app{"test"};
  ServeOptions options;
  AddServeOptions(app, options);
  EXPECT_EQ(ParseCommandLine(app, EffectiveArguments(app_)), std::nullopt);
  unsetenv("LONGHAND_LORA_MODULES");
  ASSERT_EQ(exit, std::nullopt);
  EXPECT_EQ(options_.lora_modules, (std::vector<std::string>{"a=/environment", "c=/environment"}));
  EXPECT_EQ(options_.tenant_weights, std::vector<std::string>{"t=1"});
  EXPECT_EQ(options_.allowed_origins, (std::vector<std::string>{"https://a.org", "https://b.org"}));
  EXPECT_EQ(options.lora_modules, options_.lora_modules);
}

TEST_F(OptionsTest, AnUnknownKeyIsAnErrorThatNamesItsLine) {
  const std::string path = WriteYaml("block-size: 32\nblock-sice: 16\n");
  const Result<std::vector<std::string>> args = ArgumentsFromYaml(app_, path);
  ASSERT_FALSE(args.ok());
  EXPECT_EQ(args.status().message(),
            path + ":2: unknown key 'block-sice'; did you mean 'block-size'?");
}

TEST_F(OptionsTest, AFlagThatIsNearlyOneIsRefusedWithTheOneThatWasMeant) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(ParseCommandLine(app_, {"--tensor-paralel-size=2"}), kExitUsage);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "longhand serve: not expected: --tensor-paralel-size=2; did you mean "
            "--tensor-parallel-size?\nTry 'longhand serve --help'.\n");
}

TEST_F(OptionsTest, AVariableThatIsNearlyASettingsIsTold) {
  setenv("LONGHAND_MAX_NUM_SEQ", "8", 1);
  setenv("LONGHAND_PORT_8000_TCP", "tcp://10.0.0.1:8000", 1);
  testing::internal::CaptureStderr();
  EXPECT_EQ(ParseCommandLine(app_, {}), std::nullopt);
  unsetenv("LONGHAND_MAX_NUM_SEQ");
  unsetenv("LONGHAND_PORT_8000_TCP");
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "longhand serve: LONGHAND_MAX_NUM_SEQ is in the environment and sets nothing; did you "
            "mean LONGHAND_MAX_NUM_SEQS?\n");
}

TEST(NearestNameTest, IsWithinTwoEditsAndAThirdOfTheLetters) {
  const std::vector<std::string> known = {"tp", "seed", "model", "threads"};
  EXPECT_EQ(NearestName("thread", known), "threads");
  EXPECT_EQ(NearestName("tredas", known), std::nullopt);
  EXPECT_EQ(NearestName("sed", known), "seed");
  EXPECT_EQ(NearestName("tq", known), std::nullopt);
  EXPECT_EQ(NearestName("seed", known), std::nullopt);
  EXPECT_EQ(NearestName("", known), std::nullopt);
}

TEST_F(OptionsTest, AKeyThatIsSetTwiceIsAnErrorByWhateverName) {
  const std::string path = WriteYaml("tp: 1\ntensor-parallel-size: 2\n");
  EXPECT_EQ(ArgumentsFromYaml(app_, path).status().message(),
            path + ":2: 'tensor-parallel-size' is set a second time");
}

TEST_F(OptionsTest, APictureLimitMayBeWrittenAsVllmWritesIt) {
  for (const char* given : {"7", "image=7", R"({"image": 7})", R"({"image":7})"}) {
    options_.limit_mm_per_prompt = 0;
    EXPECT_EQ(ParseCommandLine(app_, {"--limit-mm-per-prompt", given}), std::nullopt) << given;
    EXPECT_EQ(options_.limit_mm_per_prompt, 7) << given;
  }
  for (const char* given : {"image=", "video=7", R"({"image": 7, "video": 1})", "image=5000"})
    EXPECT_EQ(ParseCommandLine(app_, {"--limit-mm-per-prompt", given}), kExitUsage) << given;
}

TEST_F(OptionsTest, AdaptersAreNamesAndDirectoriesAndHaveRoomUnlessMoreIsAskedFor) {
  EXPECT_EQ(options_.num_loras(), 0);
  EXPECT_EQ(ParseCommandLine(app_, {"--lora-modules", "a=/x", "b=/y=z", "--tp", "1"}),
            std::nullopt);
  EXPECT_EQ(options_.lora_modules, (std::vector<std::string>{"a=/x", "b=/y=z"}));
  EXPECT_EQ(options_.num_loras(), 2);
  options_.lora_modules.clear();
  EXPECT_EQ(ParseCommandLine(app_, {"--lora-modules=a=/x,b=/y", "--max-loras", "5"}), std::nullopt);
  EXPECT_EQ(options_.lora_modules, (std::vector<std::string>{"a=/x", "b=/y"}));
  EXPECT_EQ(options_.num_loras(), 5);
  for (const char* given : {"a", "=/x", "a="})
    EXPECT_EQ(ParseCommandLine(app_, {"--lora-modules", given}), kExitUsage) << given;
}

TEST_F(OptionsTest, AFileThatCannotBeReadIsNamed) {
  for (const std::string& path : {std::string("/no/such.yaml"), testing::TempDir()}) {
    EXPECT_EQ(ArgumentsFromYaml(app_, path).status().message(),
              "the configuration file " + path + " cannot be read");
  }
}

TEST_F(OptionsTest, AValueOutOfRangeIsAUsageError) {
  EXPECT_EQ(ParseCommandLine(app_, {"--block-size", "17"}), kExitUsage);
  EXPECT_EQ(ParseCommandLine(app_, {"--no-such-flag"}), kExitUsage);
}

TEST_F(OptionsTest, WhatIsGivenIsPassedOn) {
  EXPECT_EQ(ParseCommandLine(app_, {"--quantization", "none", "--journal", "none", "--swap-space",
                                    "0", "--deterministic"}),
            std::nullopt);
  EXPECT_TRUE(options_.deterministic);
  CLI::App app{"test"};
  ServeOptions options;
  AddServeOptions(app, options);
  EXPECT_EQ(ParseCommandLine(app, EffectiveArguments(app_)), std::nullopt);
}

TEST_F(OptionsTest, NoMoreSequencesRunThanAStepHasTokens) {
  EXPECT_EQ(options_.num_seqs(), 64);
  EXPECT_EQ(ParseCommandLine(app_, {"--max-num-batched-tokens", "16"}), std::nullopt);
  EXPECT_EQ(options_.num_seqs(), 16);
}

TEST_F(OptionsTest, EachGroupHasItsRanksAndItsSpares) {
  EXPECT_EQ(ParseCommandLine(app_, {"--tp", "2", "--dp", "3", "--spare-workers", "1"}),
            std::nullopt);
  EXPECT_EQ(options_.num_ranks(), 6);
  EXPECT_EQ(options_.num_workers_of_group(), 3);
  EXPECT_EQ(options_.num_workers(), 9);
}

TEST_F(OptionsTest, BitsMayVaryOnlyWhereThatIsSaid) {
  EXPECT_EQ(ParseCommandLine(app_, {"--no-deterministic"}), std::nullopt);
  EXPECT_FALSE(options_.deterministic);
  CLI::App again{"test"};
  ServeOptions options;
  AddServeOptions(again, options);
  EXPECT_EQ(ParseCommandLine(again, EffectiveArguments(app_)), std::nullopt);
  EXPECT_FALSE(options.deterministic);
}

TEST_F(OptionsTest, SwitchesThatNobodySetsArePassedOnToo) {
  const std::vector<std::string> args = EffectiveArguments(app_);
  EXPECT_THAT(args, IsSupersetOf({"--enable-prefix-caching=true", "--deterministic=true",
                                  "--allow-image-urls=false"}));
  EXPECT_EQ(ParseCommandLine(app_, args), std::nullopt);
  EXPECT_TRUE(options_.enable_prefix_caching && options_.deterministic);
  EXPECT_FALSE(options_.allow_image_urls || options_.allow_runtime_lora_updating);
}

TEST(HelpText, AMeaningGoesOnInItsColumn) {
  const std::string column(30, ' ');
  EXPECT_EQ(WrapHelp("A line that is short.\n\n  --flag TEXT                 " +
                         std::string("What it means, which takes more than a line of sixty\n") +
                         column + "Another, " + std::string(60, 'x') + "\n",
                     60),
            "A line that is short.\n\n  --flag TEXT                 What it means, which takes\n" +
                column + "more than a line of sixty\n" + column + "Another,\n" + column +
                std::string(60, 'x') + "\n");
  EXPECT_EQ(WrapHelp(std::string(50, 'a') + " " + std::string(20, 'b') + "\n", 60),
            std::string(50, 'a') + "\n" + std::string(20, 'b') + "\n");
}

TEST_F(OptionsTest, AnOriginIsOneThatABrowserSends) {
  for (const char* good : {"*", "none", "https://a.org,http://[::1]:3000"})
    EXPECT_EQ(ParseCommandLine(app_, {"--allowed-origins", good}), std::nullopt) << good;
  for (const char* bad : {"a.org", "https://", "https://a.org/", "https://a.org/page"})
    EXPECT_EQ(ParseCommandLine(app_, {"--allowed-origins", bad}), kExitUsage) << bad;
}

TEST_F(OptionsTest, AnAddressHasAHostAndAPort) {
  for (const char* good : {"127.0.0.1:0", "localhost:65535", "[::1]:8001", "0.0.0.0:80"})
    EXPECT_EQ(ParseCommandLine(app_, {"--grpc-address", good}), std::nullopt) << good;
  for (const char* bad :
       {"nohost", ":0", "host:", "host:99999", "host:-1", "host:http", "::1:8001"})
    EXPECT_EQ(ParseCommandLine(app_, {"--metrics-address", bad}), kExitUsage) << bad;
}

TEST(AddressCheck, AWorkerMayBeAtAPathAndAPeerHasAPort) {
  for (const char* given : {"unix:/run/worker", "[fd00::7]:7001", "worker-0.workers:7001"}) {
    EXPECT_EQ(CheckWorkerAddress(given), "");
    EXPECT_EQ(CheckPeerAddress(given), "");
  }
  EXPECT_EQ(CheckWorkerAddress("[::]:0"), "");
  EXPECT_EQ(CheckPeerAddress("[::]:0"), "'[::]:0' cannot be reached; its port is 0");
  for (const char* given : {"unix:", "worker-0", "fd00::7:7001", "[fd00::7]"}) {
    EXPECT_NE(CheckWorkerAddress(given), "") << given;
    EXPECT_NE(CheckPeerAddress(given), "") << given;
  }
}

// CLI11 takes the argument after `--threads=` for its value.
TEST_F(OptionsTest, AnEmptyVariableIsAnUnsetOne) {
  setenv("LONGHAND_THREADS", "", 1);
  setenv("LONGHAND_CONFIG", "", 1);
  EXPECT_EQ(ParseCommandLine(app_, {"--block-size", "32"}), std::nullopt);
  unsetenv("LONGHAND_THREADS");
  unsetenv("LONGHAND_CONFIG");
  EXPECT_EQ(options_.block_size, 32);
  const std::string path = WriteYaml("model: a\nserved-model-name: ''\n");
  EXPECT_EQ(ArgumentsFromYaml(app_, path).status().message(),
            path + ":2: 'served-model-name' has no value");
}

TEST_F(OptionsTest, WhatIsNotExpectedIsNamedInOrder) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(ParseCommandLine(app_, {"--frobnicate", "3"}), kExitUsage);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("not expected: --frobnicate 3"),
            std::string::npos);
}

TEST_F(OptionsTest, SizesTakeSuffixes) {
  EXPECT_EQ(ParseCommandLine(app_, {"--kv-cache-memory-bytes", "2GiB"}), std::nullopt);
  EXPECT_EQ(options_.kv_cache_memory_bytes, int64_t{2} << 30);
}

// As vLLM's flag is; and again when the effective configuration is read back.
TEST_F(OptionsTest, SwapSpaceIsInGibUnlessAUnitSaysOtherwise) {
  for (const auto& [given, bytes] : {std::pair<const char*, int64_t>{"4", int64_t{4} << 30},
                                     {"0.5", int64_t{1} << 29},
                                     {"512MiB", int64_t{1} << 29},
                                     {"700b", 700},
                                     {"0", 0}}) {
    ASSERT_EQ(ParseCommandLine(app_, {"--swap-space", given}), std::nullopt) << given;
    EXPECT_EQ(options_.swap_space, bytes) << given;
    CLI::App app{"test"};
    ServeOptions options;
    AddServeOptions(app, options);
    ASSERT_EQ(ParseCommandLine(app, EffectiveArguments(app_)), std::nullopt) << given;
    EXPECT_EQ(options.swap_space, bytes) << given;
  }
  for (const char* wrong : {"-1", "1.2.3", "many", "4 apples", "2000000"}) {
    testing::internal::CaptureStderr();
    EXPECT_EQ(ParseCommandLine(app_, {std::string("--swap-space=") + wrong}), kExitUsage) << wrong;
    EXPECT_NE(testing::internal::GetCapturedStderr().find("is not a size"), std::string::npos);
  }
}

TEST_F(OptionsTest, TheEffectiveConfigurationReadsBackAsItself) {
  ASSERT_EQ(ParseCommandLine(app_, {"--model", "/models/a: b", "--tp", "2", "--dtype=float32"}),
            std::nullopt);
  CLI::App app{"test"};
  ServeOptions options;
  AddServeOptions(app, options);
  ASSERT_EQ(ParseCommandLine(app, EffectiveArguments(app_)), std::nullopt);
  EXPECT_EQ(options.model, "/models/a: b");
  EXPECT_EQ(options.tensor_parallel_size, 2);
  EXPECT_EQ(options.dtype, "float32");
  EXPECT_EQ(EffectiveArguments(app), EffectiveArguments(app_));
}

}  // namespace
}  // namespace longhand
