#include "client/pull/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::client {
namespace {

using ::testing::HasSubstr;

const std::string kSha1(40, 'a');
const std::string kSha256(64, 'b');

std::string Listing(const std::string& siblings) {
  return R"({"sha":")" + kSha1 + R"(","siblings":[)" + siblings + "]}";
}
std::string Large(const std::string& name) {
  return R"({"rfilename":")" + name + R"(","size":7,"blobId":")" + kSha1 +
         R"(","lfs":{"sha256":")" + kSha256 + R"(","size":7}})";
}

TEST(Repository, AServerNeedsNoPicklesNoFoldersAndNoProse) {
  for (const char* name :
       {"config.json", "model-00001-of-00004.safetensors", "tokenizer.model", "merges.txt",
        "vocab.txt", "chat_template.jinja", "model.safetensors.index.json"})
    EXPECT_TRUE(IsNeeded(name)) << name;
  for (const char* name :
       {"pytorch_model.bin", "training_args.bin", "optimizer.pt", "model.pkl", "README.md", "",
        "onnx/model.safetensors", "../config.json", ".hidden.json", "modeling.py", "notes.txt"})
    EXPECT_FALSE(IsNeeded(name)) << name;
}

TEST(Repository, OfADataSetParquetIsTakenFromTheRootAndFromData) {
  for (const char* name : {"a.parquet", "data/train-00000-of-00001.parquet"})
    EXPECT_TRUE(IsNeeded(name, RepositoryKind::kDataset)) << name;
  for (const char* name : {"data/", "data/a/b.parquet", "data/../a.parquet", "x/a.parquet",
                           "data/.a.parquet", "config.json", "data/data.csv"})
    EXPECT_FALSE(IsNeeded(name, RepositoryKind::kDataset)) << name;
  EXPECT_THAT(
      ParseRepository("o/d", Listing(Large("a.csv")), RepositoryKind::kDataset).status().message(),
      HasSubstr("no *.parquet"));
}

TEST(Repository, LargeFilesComeFirstAndAreNamedBySha256) {
  const Result<Repository> repository =
      ParseRepository("o/m", Listing(R"({"rfilename":"config.json","size":2,"blobId":")" + kSha1 +
                                     R"("},)" + Large("m.safetensors")));
  ASSERT_TRUE(repository.ok()) << repository.status();
  EXPECT_EQ(repository->commit, kSha1);
  ASSERT_EQ(repository->files.size(), 2u);
  EXPECT_EQ(repository->files[0].digest, kSha256);
  EXPECT_EQ(repository->files[1].digest, kSha1);
  EXPECT_EQ(repository->TotalBytes(), 9);
}

TEST(Repository, AFileWithoutADigestGetsThatOfItsEtag) {
  Result<Repository> repository = ParseRepository(
      "o/m", Listing(R"({"rfilename":"m.safetensors","size":3},)" + Large("n.json")));
  ASSERT_TRUE(repository.ok()) << repository.status();
  RepositoryFile& file = repository->files[1];
  EXPECT_EQ(file.digest, "");
  EXPECT_TRUE(file.SetFacts(5, kSha256).ok());
  EXPECT_EQ(file.digest_kind, DigestKind::kSha256);
  EXPECT_TRUE(file.SetFacts(5, kSha1).ok());
  EXPECT_EQ(file.digest_kind, DigestKind::kGitSha1);
  for (const char* etag : {"", "1a2b", "../x"}) EXPECT_FALSE(file.SetFacts(5, etag).ok()) << etag;
  EXPECT_FALSE(file.SetFacts(-1, kSha1).ok());
}

TEST(Repository, AnAnswerThatIsNoListingIsRefused) {
  EXPECT_EQ(ParseRepository("o/m", "<html>").status().code(), StatusCode::kInternal);
  EXPECT_EQ(ParseRepository("o/m", "{}").status().code(), StatusCode::kInternal);
  EXPECT_EQ(ParseRepository("o/m", R"({"sha":"../..","siblings":[]})").status().code(),
            StatusCode::kInternal);
  // A digest becomes a file's name.
  EXPECT_EQ(
      ParseRepository("o/m", Listing(R"({"rfilename":"m.safetensors","size":1,"blobId":"../x"})"))
          .status()
          .code(),
      StatusCode::kInternal);
  EXPECT_THAT(ParseRepository("o/m", Listing(Large("pytorch_model.bin"))).status().message(),
              HasSubstr("pickles"));
}

// As sha256sum and `git hash-object` print them.
TEST(FileDigest, IsWhatGitAndGitLfsSay) {
  FileDigest git(DigestKind::kGitSha1, 6);
  git.Add("hel");
  git.Add("lo\n");
  EXPECT_EQ(git.Hex(), "ce013625030ba8dba906f756967f9e9ca394464a");
  FileDigest lfs(DigestKind::kSha256, 6);
  lfs.Add("hello\n");
  EXPECT_EQ(lfs.Hex(), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
}

}  // namespace
}  // namespace longhand::client
