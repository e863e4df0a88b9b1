// Large products by a library: what is handed to it, and what becomes of its sums. Plain loops
// stand for the library.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "kernels/cuda/linear_kernels.h"

namespace longhand::kernels::LONGHAND_DEVICE {
namespace {

// What it was asked for, and how often.
class PlainProducts final : public LargeProducts {
 public:
  explicit PlainProducts(std::vector<int64_t>* rows) : rows_(*rows) {}

  Status Multiply(const Stream&, const LargeProduct& p, void*) override {
    rows_.push_back(p.num_tokens);
    const auto* x = static_cast<const Bf16*>(p.x);
    const auto* weight = static_cast<const Bf16*>(p.weight);
    auto* out = static_cast<Bf16*>(p.out);
    std::vector<float> wide(static_cast<size_t>(p.out_features * p.in_features));
    for (size_t i = 0; i < wide.size(); ++i) wide[i] = static_cast<float>(weight[i]);
    for (int64_t t = 0; t < p.num_tokens; ++t) {
      for (int64_t n = 0; n < p.out_features; ++n) {
        float sum = 0;
        for (int64_t k = 0; k < p.in_features; ++k) {
          sum += static_cast<float>(x[t * p.in_features + k]) *
                 wide[static_cast<size_t>(n * p.in_features + k)];
        }
        out[t * p.out_features + n] = Bf16(sum);
      }
    }
    return OkStatus();
  }

 private:
  std::vector<int64_t>& rows_;
};

struct Rows {
  Rows(int64_t rows, int64_t columns, int step)
      : elements(static_cast<size_t>(rows * columns)),
        view(elements.data(), DType::kBf16, {rows, columns}) {
    // Whole numbers, whose sums are exact in any order.
    for (size_t i = 0; i < elements.size(); ++i) {
      elements[i] =
          Bf16(static_cast<float>(static_cast<int>(i * static_cast<size_t>(step) % 7) - 3));
    }
  }
  Rows(const Rows&) = delete;

  std::vector<Bf16> elements;
  TensorView view;
};

class LinearLargeTest : public testing::Test {
 protected:
  LinearLargeTest() { context_.large.products = std::make_unique<PlainProducts>(&asked_); }

  // The products of our own kernels, which the library's must equal.
  void Compare(int64_t num_tokens, int64_t in, int64_t out, LinearLayout layout) {
    const Rows x(num_tokens, in, 3), weight(out, in, 5);
    const auto packed = PackLinear(context_, weight.view, layout);
    ASSERT_TRUE(packed.ok()) << packed.status();
    const int64_t columns = (*packed)->out_columns();
    const Rows ours(num_tokens, columns, 0), library(num_tokens, columns, 0);
    LinearArgs args{.x = x.view, .weight = packed->get(), .out = ours.view};
    ASSERT_TRUE(Linear(context_, args).ok());
    EXPECT_TRUE(asked_.empty()) << "nothing was reserved";
    const bool gates = layout == LinearLayout::kGateUp;
    const Status reserved = ReserveLarge(
        context_, {.max_weight_elements = in * out, .max_gate_up_features = gates ? out : 0});
    ASSERT_TRUE(reserved.ok()) << reserved;
    args.out = library.view;
    const int64_t allocations = context_.stream.num_allocations;
    ASSERT_TRUE(Linear(context_, args).ok());
    EXPECT_EQ(context_.stream.num_allocations, allocations);
    for (size_t i = 0; i < ours.elements.size(); ++i) {
      ASSERT_EQ(ours.elements[i].bits, library.elements[i].bits) << i;
    }
  }

  std::vector<int64_t> asked_;
  Context context_;
};

TEST_F(LinearLargeTest, TheLibraryGetsTheRowsThatWerePacked) {
  Compare(1024, 72, 24, LinearLayout::kPlain);
  EXPECT_EQ(asked_, std::vector<int64_t>{1024});
}

TEST_F(LinearLargeTest, GatesAndUpsGoThroughSwiGluByTheSlice) {
  Compare(2100, 72, 48, LinearLayout::kGateUp);
  EXPECT_EQ(asked_, (std::vector<int64_t>{2048, 52}));
}

TEST_F(LinearLargeTest, WhatTheLibraryDoesNotTakeIsOurOwn) {
  const Rows x(1024, 72, 3), few(1023, 72, 3), weight(24, 72, 5), out(1024, 24, 0);
  const auto packed = PackLinear(context_, weight.view, LinearLayout::kPlain);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto& plain = static_cast<const PackedWeight&>(**packed);
  ASSERT_TRUE(ReserveLarge(context_, {.max_weight_elements = 24 * 72}).ok());
  LinearArgs args{.x = x.view, .weight = packed->get(), .out = out.view};
  EXPECT_TRUE(IsLarge(context_, args, plain));
  std::vector<float> bias(24), sums(1024 * 24);
  args.bias = TensorView(bias.data(), DType::kF32, {24});
  EXPECT_FALSE(IsLarge(context_, args, plain));
  args.bias = {};
  args.out = TensorView(sums.data(), DType::kF32, {1024, 24});
  EXPECT_FALSE(IsLarge(context_, args, plain));
  args.out = out.view.Slice(0, 1023);
  args.x = few.view;
  EXPECT_FALSE(IsLarge(context_, args, plain));
}

TEST_F(LinearLargeTest, NothingIsReservedWhileBitsAreDeterministic) {
  const StepSizes sizes{.max_weight_elements = 1000, .max_gate_up_features = 10};
  EXPECT_EQ(LargeBytes(context_, sizes), LargeProducts::kScratchBytes + 2 * (1000 + 2048 * 10));
  context_.large.products = nullptr;
  EXPECT_EQ(LargeBytes(context_, sizes), 0);
}

}  // namespace
}  // namespace longhand::kernels::LONGHAND_DEVICE
