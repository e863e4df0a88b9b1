#include "client/dataset/json_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testing/temp_directory.h"

namespace longhand::client {
namespace {

using ::testing::HasSubstr;

TEST(JsonLines, HalfALineIsCutOffBeforeOthersFollow) {
  const testing::TempDirectory folder;
  std::ofstream(folder / "log") << "{\"a\":1}\n{\"a\":";
  ASSERT_TRUE(JsonLinesWriter::Append(folder / "log")->Add({{"a", 2}}).ok());
  auto reader = JsonLinesReader::Open(folder / "log");
  ASSERT_TRUE(reader.ok()) << reader.status();
  for (const int a : {1, 2}) {
    const auto line = reader->Next();
    ASSERT_TRUE(line.ok() && line->has_value()) << line.status();
    EXPECT_EQ((*line)->at("a"), a);
  }
  EXPECT_FALSE(reader->Next()->has_value());
}

TEST(JsonLines, ALineThatIsNoObjectIsNamed) {
  const testing::TempDirectory folder;
  std::ofstream(folder / "log") << "{}\n\n[1]\n";
  auto reader = JsonLinesReader::Open(folder / "log");
  ASSERT_TRUE(reader->Next().ok());
  EXPECT_THAT(reader->Next().status().message(), HasSubstr("log:3: expected a JSON object"));
  EXPECT_THAT(JsonLinesReader::Open(folder.path()).status().message(), HasSubstr("is a directory"));
}

TEST(JsonLines, AFileIsWrittenWholeInAFolderThatIsMade) {
  const testing::TempDirectory folder;
  ASSERT_TRUE(WriteWhole(folder.path() / "a" / "b", "text").ok());
  std::string text;
  std::ifstream(folder.path() / "a" / "b") >> text;
  EXPECT_EQ(text, "text");
}

}  // namespace
}  // namespace longhand::client
