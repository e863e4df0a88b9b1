#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "common/bf16.h"
#include "common/bounded_queue.h"
#include "common/fp8.h"
#include "common/philox.h"
#include "common/shorten.h"
#include "common/status.h"
#include "common/tensor_view.h"
#include "common/thread_checker.h"
#include "common/trim.h"

namespace longhand {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return InvalidArgument("value is ", value, "; it must be even");
  return value / 2;
}

Status Quarter(int value, int* out) {
  LONGHAND_ASSIGN_OR_RETURN(const int half, Half(value));
  LONGHAND_ASSIGN_OR_RETURN(*out, Half(half));
  return OkStatus();
}

TEST(Status, AnErrorPassesThroughTheMacrosUnchanged) {
  int out = 0;
  EXPECT_TRUE(Quarter(8, &out).ok());
  EXPECT_EQ(out, 2);
  EXPECT_EQ(Quarter(6, &out).ToString(), "INVALID_ARGUMENT: value is 3; it must be even");
}

TEST(Status, ContextStandsInFrontOfTheMessage) {
  EXPECT_EQ(NotFound("no file").WithContext("a.json").message(), "a.json: no file");
  EXPECT_TRUE(OkStatus().WithContext("a.json").message().empty());
}

TEST(Status, WhatItIsAboutStaysWithTheError) {
  const int top_k = -1;
  const Status status = InvalidField("top_k", " is ", top_k, "; it must be at least 0");
  EXPECT_EQ(status.message(), "top_k is -1; it must be at least 0");
  EXPECT_EQ(status.WithContext("prompt 2").WithRetryAdvice(3).about(), "top_k");
  EXPECT_EQ(OkStatus().About("top_k"), OkStatus());
}

TEST(Status, TheTimeToTryAgainStaysWithTheError) {
  EXPECT_EQ(ResourceExhausted("full").retry_after_seconds(), 0);
  const Status status = ResourceExhausted("full").WithRetryAfter(7).WithContext("queue");
  EXPECT_EQ(status.ToString(), "RESOURCE_EXHAUSTED: queue: full");
  EXPECT_EQ(status.retry_after_seconds(), 7);
}

TEST(StatusDeathTest, ReadingTheValueOfAFailedResultEndsTheProcess) {
  EXPECT_DEATH((void)Half(1).value(), "value is 1; it must be even");
}

TEST(Trim, TakesTheNamedBlanksFromBothEndsAndNoOthers) {
  EXPECT_EQ(Trim(" \t a b\t", " \t"), "a b");
  EXPECT_EQ(Trim("a\r ", " "), "a\r");
  EXPECT_EQ(Trim(" \t", " \t"), "");
  EXPECT_EQ(Trim("", " "), "");
}

TEST(Shorten, CutsBetweenCharacters) {
  EXPECT_EQ(Shortened("abc", 3), "abc");
  EXPECT_EQ(Shortened("abcd", 3), "abc...");
  EXPECT_EQ(Shortened("ab\u8BCD", 4), "ab...");
  EXPECT_EQ(Shortened("ab\u8BCDc", 5), "ab\u8BCD...");
}

// Every number of the format comes back, and so does each next to the middle between two of them.
TEST(Fp8E4M3, RoundsToNearestEvenAndSaturates) {
  const auto at = [](uint32_t bits) {
    Fp8E4M3 x;
    x.bits = static_cast<uint8_t>(bits);
    return x;
  };
  for (uint32_t bits = 0; bits < 0x7e; ++bits) {
    const float low = static_cast<float>(at(bits)), high = static_cast<float>(at(bits + 1));
    const float middle = (low + high) / 2;
    EXPECT_EQ(Fp8E4M3(low), at(bits)) << bits;
    EXPECT_EQ(Fp8E4M3(std::nextafter(middle, low)), at(bits)) << bits;
    EXPECT_EQ(Fp8E4M3(middle), at(bits + bits % 2)) << bits;
    EXPECT_EQ(Fp8E4M3(std::nextafter(middle, high)), at(bits + 1)) << bits;
    EXPECT_EQ(Fp8E4M3(-low), at(0x80 | bits)) << bits;
  }
  EXPECT_EQ(static_cast<float>(at(0x7e)), Fp8E4M3::kMax);
  EXPECT_EQ(static_cast<float>(at(1)), 0x1p-9f);
  EXPECT_EQ(Fp8E4M3(1e9f), at(0x7e));
  EXPECT_EQ(Fp8E4M3(-std::numeric_limits<float>::infinity()), at(0xfe));
  EXPECT_TRUE(std::isnan(static_cast<float>(Fp8E4M3(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(Bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(Bf16(1.00390625f).bits, 0x3f80);  // Halfway between 0x3f80 and 0x3f81: the even one.
  EXPECT_EQ(Bf16(1.01171875f).bits, 0x3f82);  // Halfway between 0x3f81 and 0x3f82.
  EXPECT_EQ(Bf16(-0.0f).bits, 0x8000);
  EXPECT_TRUE(std::isnan(static_cast<float>(Bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isinf(static_cast<float>(Bf16(3.4e38f))));
}

TEST(TensorView, ASliceOfRowsPointsIntoTheSameMemory) {
  float data[6] = {0, 1, 2, 3, 4, 5};
  const TensorView view(data, DType::kF32, {3, 2});
  const TensorView tail = view.Slice(1, 2);
  EXPECT_EQ(tail.as<float>()[0], 2);
  EXPECT_TRUE(tail.HasShape({2, 2}));
  EXPECT_EQ(tail.ToString(), "float32[2, 2]");
  EXPECT_EQ(view.num_bytes(), 24u);
  EXPECT_TRUE(TensorView().empty());
}

TEST(BoundedQueue, AFullQueueRefusesAtOnceAndAClosedOneCanBeEmptied) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.Push(1).ok());
  EXPECT_TRUE(queue.Push(2).ok());
  EXPECT_EQ(queue.Push(3).code(), StatusCode::kResourceExhausted);
  queue.Close();
  EXPECT_EQ(queue.Push(4).code(), StatusCode::kUnavailable);
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), 2);
  EXPECT_EQ(queue.Pop(), std::nullopt);
}

TEST(BoundedQueue, AWaitingReaderWakesForAMessageFromAnotherThread) {
  BoundedQueue<int> queue(1);
  std::thread writer([&] { EXPECT_TRUE(queue.Push(5).ok()); });
  EXPECT_EQ(queue.Pop(), 5);
  writer.join();
}

// Known answers of the paper's reference implementation (Random123, kat_vectors).
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Philox, ADrawDependsOnEachPartOfItsKey) {
  const DrawKey key{.seed = 1, .choice = 2, .attempt = 3, .position = 4};
  const float base = UniformDraw(key, 5);
  EXPECT_EQ(UniformDraw(key, 5), base);
  EXPECT_NE(UniformDraw(key, 6), base);
  for (int part = 0; part < 4; ++part) {
    DrawKey other = key;
    if (part == 0) other.seed ^= uint64_t{1} << 40;
    if (part == 1) ++other.choice;
    if (part == 2) ++other.attempt;
    if (part == 3) ++other.position;
    EXPECT_NE(UniformDraw(other, 5), base) << "part " << part;
  }
}

TEST(ThreadCheckerDeathTest, AnotherThreadIsCaught) {
  ThreadChecker checker;
  checker.Check();
  EXPECT_DEATH(std::thread([&] { checker.Check(); }).join(), "does not own");
}

}  // namespace
}  // namespace longhand
