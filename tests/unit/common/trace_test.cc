#include "common/trace.h"

#include <gtest/gtest.h>

#include <string>

namespace longhand {
namespace {

const std::string kTraceId = "4bf92f3577b34da6a3ce929d0e0e4736", kSpanId = "00f067aa0ba902b7";
const std::string kSampled = "00-" + kTraceId + "-" + kSpanId + "-01";

bool ContinuesIt(const std::string& traceparent) {
  return ContinueTrace(traceparent).trace_id == kTraceId;
}

TEST(TraceTest, ARequestIsASpanBelowItsCallers) {
  const Trace trace = ContinueTrace(kSampled);
  EXPECT_EQ(trace.trace_id, kTraceId);
  EXPECT_EQ(trace.parent_span_id, kSpanId);
  EXPECT_EQ(trace.span_id.size(), 16U);
  EXPECT_NE(trace.span_id, kSpanId);
  EXPECT_GT(trace.began_ns, 1'700'000'000'000'000'000);
}

TEST(TraceTest, WithoutACallersSpanANewTraceBegins) {
  const Trace one = ContinueTrace(""), other = ContinueTrace("");
  EXPECT_TRUE(one.is_traced());
  EXPECT_EQ(one.trace_id.size(), 32U);
  EXPECT_EQ(one.parent_span_id, "");
  EXPECT_NE(one.trace_id, other.trace_id);
}

TEST(TraceTest, WhatItsCallerDoesNotSampleIsNotTraced) {
  EXPECT_FALSE(ContinueTrace("00-" + kTraceId + "-" + kSpanId + "-00").is_traced());
  EXPECT_FALSE(ContinueTrace("00-" + kTraceId + "-" + kSpanId + "-02").is_traced());
  EXPECT_TRUE(ContinuesIt("00-" + kTraceId + "-" + kSpanId + "-03"));
  EXPECT_FALSE(ChildOf(Trace()).is_traced());
}

TEST(TraceTest, AHeaderThatIsWrongIsAsGoodAsNone) {
  for (const std::string& wrong :
       {kSampled.substr(1), kSampled + "-00", "ff" + kSampled.substr(2), "0g" + kSampled.substr(2),
        "00-" + std::string(32, '0') + "-" + kSpanId + "-01",
        "00-" + kTraceId + "-" + std::string(16, '0') + "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" + kSpanId + "-01",
        "00_" + kTraceId + "-" + kSpanId + "-01", "00-" + kTraceId + "-" + kSpanId + "-0x",
        std::string(kSampled.size(), '\0'), std::string(kSampled.size(), '-')}) {
    EXPECT_FALSE(ContinuesIt(wrong)) << wrong;
    EXPECT_TRUE(ContinueTrace(wrong).is_traced()) << wrong;
  }
}

TEST(TraceTest, ALaterVersionMayHaveMoreBehind) {
  EXPECT_TRUE(ContinuesIt("01-" + kTraceId + "-" + kSpanId + "-01-what-comes"));
  EXPECT_FALSE(ContinuesIt("01-" + kTraceId + "-" + kSpanId + "-01what-comes"));
}

TEST(TraceTest, AChildIsBelowItsParentInTheSameTrace) {
  const Trace parent = ContinueTrace(kSampled), child = ChildOf(parent);
  EXPECT_EQ(child.trace_id, kTraceId);
  EXPECT_EQ(child.parent_span_id, parent.span_id);
  EXPECT_NE(child.span_id, parent.span_id);
}

}  // namespace
}  // namespace longhand
