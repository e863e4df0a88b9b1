#include "shim/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace longhand::shim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string File(const std::string& header, size_t data_bytes, int64_t stated_size = -1) {
  const uint64_t size = stated_size < 0 ? header.size() : static_cast<uint64_t>(stated_size);
  std::string file(8, '\0');
  std::memcpy(file.data(), &size, 8);  // Little-endian, as all machines we run on.
  return file + header + std::string(data_bytes, '\0');
}

TEST(SafetensorsHeader, GivesNameTypeShapeAndPlaceInTheOrderOfTheData) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"z":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},)"
      R"("a":{"dtype":"F32","shape":[],"data_offsets":[12,16]},)"
      R"("empty":{"dtype":"I64","shape":[0,4],"data_offsets":[16,16]}})";
  const auto entries = ParseSafetensorsHeader(File(header, 16));
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 3u);
  const int64_t data = 8 + static_cast<int64_t>(header.size());
  const SafetensorsEntry& z = entries->at(0);
  EXPECT_EQ(z.name, "z");
  EXPECT_EQ(z.dtype, "BF16");
  EXPECT_THAT(z.shape, ElementsAre(2, 3));
  EXPECT_EQ(z.begin, data);
  EXPECT_EQ(z.end, data + 12);
  const SafetensorsEntry& a = entries->at(1);
  EXPECT_EQ(a.name, "a");
  EXPECT_THAT(a.shape, IsEmpty());
  EXPECT_EQ(a.end, data + 16);
  EXPECT_EQ(entries->at(2).begin, entries->at(2).end);
}

struct Fault {
  std::string file;
  std::string message;
};

std::ostream& operator<<(std::ostream& out, const Fault& fault) { return out << fault.message; }

class FaultyHeader : public ::testing::TestWithParam<Fault> {};

TEST_P(FaultyHeader, IsRefusedWithTheNumbers) {
  const auto entries = ParseSafetensorsHeader(GetParam().file);
  ASSERT_FALSE(entries.ok());
  EXPECT_EQ(entries.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(entries.status().message(), HasSubstr(GetParam().message));
}

const char kOne[] = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

INSTANTIATE_TEST_SUITE_P(
    ,
    FaultyHeader,
    ::testing::Values(
        Fault{"", "the file has 0 bytes"},
        Fault{"1234567", "the file has 7 bytes"},
        Fault{File(kOne, 8, 1000), "claims 1000 bytes, but the file has only 70"},
        Fault{File(kOne, 8, 1 << 30), "claims 1073741824 bytes; at most 100000000"},
        Fault{File(kOne, 8, INT64_MAX), "claims 9223372036854775807 bytes"},
        Fault{File(kOne, 7), "need 8 bytes of data, but the file has 7"},
        Fault{File(kOne, 9), "need 8 bytes of data, but the file has 9"},
        Fault{File("{", 0), "bad header"},
        Fault{File("\xff", 0), "bad header"},
        Fault{File(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "tensor \"a\": bad header entry"},
        Fault{File(R"({"a":{"dtype":"Q9","shape":[2],"data_offsets":[0,8]}})", 8), "Q9"},
        Fault{File(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8),
              "tensor \"a\""},
        Fault{File(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
              "hold 8 bytes, but F32 [3] needs 12 bytes"},
        Fault{File(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})",
                   8),
              "needs more than 2^64 bits"},
        Fault{File(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                   R"("b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})",
                   5),
              "tensor \"b\": data_offsets [3, 5] leaves a hole: its data must begin at 2"},
        Fault{File(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                   R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                   3),
              "tensor \"b\": data_offsets [1, 3] overlaps the tensor before it, which ends at 2"},
        Fault{File(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}})", 2),
              "tensor \"a\": data_offsets [2, 0] ends before it begins"}));

}  // namespace
}  // namespace longhand::shim
