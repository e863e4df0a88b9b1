#include "shim/parquet_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <iterator>

#include "common/split_mix.h"
#include "tests/testing/temp_directory.h"

namespace longhand::shim {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kData = fs::path(LONGHAND_TEST_DATA) / "benchmarks";

struct OwnedRow {
  std::string json;
  std::vector<std::string> blobs;
};

Result<std::vector<OwnedRow>> ReadAll(const fs::path& path) {
  LONGHAND_ASSIGN_OR_RETURN(ParquetReader reader, ParquetReader::Open(path));
  std::vector<OwnedRow> rows;
  while (true) {
    LONGHAND_ASSIGN_OR_RETURN(const std::optional<ParquetRow> row, reader.Next());
    if (!row) return rows;
    rows.push_back({std::string(row->json), {row->blobs.begin(), row->blobs.end()}});
  }
}

std::string Bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

TEST(ParquetReader, EveryKindOfValueBecomesJsonAndBytesStayBeside) {
  const auto rows = ReadAll(kData / "kinds.parquet");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ((*rows)[0].json, R"({"b":true,"i":-1,"f":0.5,"s":"é\"\n","raw":{"blob":0},)"
                             R"("nested":[[1,2],[]],"m":{"x":null}})");
  EXPECT_EQ((*rows)[0].blobs, std::vector<std::string>{std::string("\0\xff", 2)});
  EXPECT_EQ((*rows)[1].json,
            R"({"b":null,"i":2,"f":null,"s":null,"raw":{"blob":0},"nested":null,"m":{"x":"y"}})");
}

// As Hugging Face writes them: snappy by default.
TEST(ParquetReader, PagesMayBePackedInEachOfTheUsualWays) {
  for (const auto& [name, count] :
       {std::pair("ruler", 4u), {"mmlongbench", 5u}, {"longwriter_v_22k", 3u}}) {
    const auto rows = ReadAll(kData / (std::string(name) + ".parquet"));
    ASSERT_TRUE(rows.ok()) << name << ": " << rows.status();
    EXPECT_EQ(rows->size(), count) << name;
  }
  EXPECT_EQ(ParquetReader::Open(kData / "ruler.parquet")->num_rows(), 4);
}

TEST(ParquetReader, WhatIsNoParquetFileIsRefusedByName) {
  const testing::TempDirectory folder;
  EXPECT_THAT(ParquetReader::Open(folder / "none").status().message(),
              HasSubstr("none: it cannot"));
  std::ofstream(folder / "short") << "PAR1";
  EXPECT_THAT(ParquetReader::Open(folder / "short").status().message(), HasSubstr("4 bytes"));
  std::ofstream(folder / "text") << "this is not one of them";
  EXPECT_THAT(ParquetReader::Open(folder / "text").status().message(), HasSubstr("PAR1"));
  std::ofstream(folder / "long") << std::string("PAR1PAR1\xff\xff\xff\x7fPAR1");
  EXPECT_THAT(ParquetReader::Open(folder / "long").status().message(), HasSubstr("2147483647"));
}

// A list that says it holds two billion elements; structs in structs without an end.
TEST(ParquetReader, AFooterIsNotBelieved) {
  const testing::TempDirectory folder;
  for (const std::string& footer :
       {std::string("\x29\xfc\xff\xff\xff\xff\x07", 7), std::string(1 << 20, '\x1c')}) {
    const auto size = static_cast<uint32_t>(footer.size());
    std::string file = "PAR1" + footer;
    for (int i = 0; i < 4; ++i) file += static_cast<char>(size >> (8 * i));
    std::ofstream(folder / "file", std::ios::binary) << file << "PAR1";
    EXPECT_THAT(ParquetReader::Open(folder / "file").status().message(), HasSubstr("broken"));
  }
}

// Each is read or refused: no crash, and no memory that the file has no bytes for.
TEST(ParquetReader, DamagedFilesAreReadOrRefused) {
  const testing::TempDirectory folder;
  uint64_t state = 11;
  int num_refused = 0;
  for (const char* name : {"kinds.parquet", "ruler.parquet", "longwriter_v_22k.parquet"}) {
    const std::string whole = Bytes(kData / name);
    for (int i = 0; i < 300; ++i) {
      std::string damaged = whole;
      for (int change = 0; change < 3; ++change)
        damaged[SplitMix64(state) % damaged.size()] = static_cast<char>(SplitMix64(state));
      std::ofstream(folder / "file", std::ios::binary | std::ios::trunc) << damaged;
      num_refused += !ReadAll(folder / "file").ok();
    }
  }
  EXPECT_GT(num_refused, 100);
}

}  // namespace
}  // namespace longhand::shim
