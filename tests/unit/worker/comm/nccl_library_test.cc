#include "worker/comm/nccl_library.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "tests/testing/temp_directory.h"
#include "tests/unit/worker/comm/nccl_stand_in/nccl_stand_in.h"

namespace longhand::comm {
namespace {

using ::testing::HasSubstr;

class NcclLibraryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    unsetenv("VIRTUAL_ENV");
    setenv("PYTHONPATH", directory_.path().c_str(), /*overwrite=*/1);
    if (dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL) != nullptr) {
      GTEST_SKIP() << "the loader has a libnccl.so.2 of its own";
    }
  }
  const testing::TempDirectory directory_;
};

TEST_F(NcclLibraryTest, IsTakenFromPythonsPackageWhereTheLoaderHasNone) {
  const auto stand_in = NcclLibrary::Load(nccl_stand_in::kPath);
  ASSERT_TRUE(stand_in.ok()) << stand_in.status();
  const std::filesystem::path folder = directory_ / "nvidia/nccl/lib";
  std::filesystem::create_directories(folder);
  std::filesystem::copy(nccl_stand_in::kPath, folder / "libnccl.so.2");
  const auto library = NcclLibrary::Load("");
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_EQ(library->version(), stand_in->version());
}

TEST_F(NcclLibraryTest, AFileThatIsNamedIsNotLookedForElsewhere) {
  const Status status = NcclLibrary::Load((directory_ / "libnccl.so.2").string()).status();
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr((directory_ / "libnccl.so.2").string()));
}

}  // namespace
}  // namespace longhand::comm
