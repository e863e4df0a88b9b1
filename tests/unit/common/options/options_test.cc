#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "common/options/command_line.h"
#include "common/options/serve_options.h"

namespace longhand {
namespace {

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

TEST_F(OptionsTest, AnUnknownKeyIsAnErrorThatNamesItsLine) {
  const std::string path = WriteYaml("block-size: 32\nblock-sice: 16\n");
  const Result<std::vector<std::string>> args = ArgumentsFromYaml(app_, path);
  ASSERT_FALSE(args.ok());
  EXPECT_EQ(args.status().message(), path + ":2: unknown key 'block-sice'");
}

TEST_F(OptionsTest, AValueOutOfRangeIsAUsageError) {
  EXPECT_EQ(ParseCommandLine(app_, {"--block-size", "17"}), kExitUsage);
  EXPECT_EQ(ParseCommandLine(app_, {"--no-such-flag"}), kExitUsage);
}

TEST_F(OptionsTest, SizesTakeSuffixes) {
  EXPECT_EQ(ParseCommandLine(app_, {"--kv-cache-memory-bytes", "2GiB"}), std::nullopt);
  EXPECT_EQ(options_.kv_cache_memory_bytes, int64_t{2} << 30);
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
