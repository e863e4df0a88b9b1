#include "client/dataset/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/testing/temp_directory.h"

namespace longhand::client {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kData = fs::path(LONGHAND_TEST_DATA) / "benchmarks";

Result<std::vector<DatasetRow>> ReadAll(const std::string& data) {
  LONGHAND_ASSIGN_OR_RETURN(Dataset dataset, Dataset::Open(data, "main"));
  std::vector<DatasetRow> rows;
  while (true) {
    LONGHAND_ASSIGN_OR_RETURN(std::optional<DatasetRow> row, dataset.Next());
    if (!row) return rows;
    rows.push_back(std::move(*row));
  }
}

TEST(Dataset, ParquetHasFieldsAndEmbeddedPictures) {
  const auto rows = ReadAll(kData / "mmlongbench.parquet");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 5u);  // of two row groups
  EXPECT_EQ((*rows)[4].fields.at("L"), 1200);
  EXPECT_FALSE((*rows)[4].fields.contains("images"));
  EXPECT_EQ((*rows)[2].pictures.size(), 1u);
  ASSERT_EQ((*rows)[3].pictures.size(), 2u);
  EXPECT_EQ((*rows)[3].pictures[1].type, "image/png");
  EXPECT_EQ((*rows)[3].pictures[1].bytes.substr(1, 3), "PNG");
}

TEST(Dataset, AFolderHasItsFilesInOrderAndOfSplitsTheOneToTrain) {
  const testing::TempDirectory folder;
  fs::create_directories(folder / "data");
  fs::copy(kData / "ruler.parquet", folder / "data/train-00001-of-00002.parquet");
  fs::copy(kData / "mmlongbench.parquet", folder / "data/train-00000-of-00002.parquet");
  fs::copy(kData / "ruler.parquet", folder / "data/test-00000-of-00001.parquet");
  const auto rows = ReadAll(folder.path());
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 9u);
  EXPECT_EQ((*rows)[0].fields.at("L"), 1000);
  EXPECT_EQ((*rows)[5].fields.at("L"), 500);
}

TEST(Dataset, LinesNamePicturesFromTheirOwnFolder) {
  const testing::TempDirectory folder;
  std::ofstream(folder / "a.png") << "\x89PNG and so on";
  std::ofstream(folder / "rows.jsonl")
      << R"({"question":"q","images":["a.png","data:image/gif;base64,R0lGODlh"],"more":[1]})"
      << "\n\n"
      << R"({"question":"r","images":["b.png"]})";
  Result<Dataset> dataset = Dataset::Open(folder / "rows.jsonl", "main");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const auto row = dataset->Next();
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(boost::json::serialize((*row)->fields),
            R"({"question":"q","images":["a.png","data:image/gif;base64,R0lGODlh"],"more":[1]})");
  ASSERT_EQ((*row)->pictures.size(), 2u);
  EXPECT_EQ((*row)->pictures[1].type, "image/gif");
  EXPECT_THAT(dataset->Next().status().message(), HasSubstr("rows.jsonl:3: cannot read"));
}

TEST(Dataset, WhatIsNotThereIsSaidWithWhatIsMeant) {
  EXPECT_THAT(ReadAll("/nowhere").status().message(), HasSubstr("ORG/NAME"));
  const testing::TempDirectory folder;
  EXPECT_THAT(ReadAll(folder.path()).status().message(), HasSubstr("no *.parquet"));
}

}  // namespace
}  // namespace longhand::client
