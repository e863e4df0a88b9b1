#include "worker/model/code_reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <thread>

#include "worker/model/slice_view.h"

namespace longhand::model {
namespace {

std::string WithSuffix(const std::string& weight, std::string_view suffix) {
  constexpr std::string_view kWeight = ".weight";
  LONGHAND_CHECK(weight.ends_with(kWeight)) << weight;
  return weight.substr(0, weight.size() - kWeight.size()) + std::string(suffix);
}

static_assert(kInt8GroupSize == kernels::kInt8Group);

// AutoAWQ keeps eight outputs in a word: output 8 i + kAwqOrder[j] in nibble j.
constexpr int kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
struct AwqShifts {
  int of[8] = {};
  constexpr AwqShifts() {
    for (int j = 0; j < 8; ++j) of[kAwqOrder[j]] = 4 * j;
  }
};
constexpr AwqShifts kShift;

uint32_t WordAt(const char* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// Element (row, n) of a tensor of words, [rows, outputs / 8].
int Nibble(const CheckpointTensor& tensor, int64_t row, int64_t n) {
  const int64_t width = tensor.shape[1];
  return static_cast<int>(WordAt(tensor.data + (row * width + n / 8) * 4) >> kShift.of[n % 8] & 15);
}

// Outputs `rows` and inputs `columns` of [inputs, outputs / 8] words, to [rows, columns / 2] bytes
// that are zero. Some inputs at a time, so that what is written stays in the cache.
void TransposeCodes(const CheckpointTensor& tensor,
                    const IndexRange& rows,
                    const IndexRange& columns,
                    uint8_t* codes) {
  constexpr int64_t kAtOnce = 64;
  const int64_t row_bytes = columns.size() / 2;
  for (int64_t first = columns.begin; first < columns.end; first += kAtOnce) {
    const int64_t end = std::min(columns.end, first + kAtOnce);
    for (int64_t n = rows.begin; n < rows.end; ++n) {
      uint8_t* to = codes + (n - rows.begin) * row_bytes;
      for (int64_t k = first; k < end; ++k) {
        const int64_t at = k - columns.begin;
        to[at / 2] |= static_cast<uint8_t>(Nibble(tensor, k, n) << (at % 2 * 4));
      }
    }
  }
}

// fn(begin, end) of parts of [0, count), each on a thread. Parts begin at multiples of `unit`.
template <typename Fn>
void InParts(int64_t count, int64_t unit, int num_threads, const Fn& fn) {
  const int64_t units = (count + unit - 1) / unit;
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(num_threads, units));
  const auto begin = [&](int64_t part) { return std::min(count, units * part / parts * unit); };
  std::vector<std::jthread> threads;
  for (int64_t part = 1; part < parts; ++part) {
    threads.emplace_back([&, part] { fn(begin(part), begin(part + 1)); });
  }
  fn(0, begin(1));
}

// Where the first fp8 code that is NaN is, or `count`.
int64_t FindNan(const uint8_t* codes, int64_t count) {
  const auto is_nan = [](uint8_t code) { return (code & 0x7f) == 0x7f; };
  // Without a way out, so that it becomes vector code.
  bool has_nan = false;
  for (int64_t i = 0; i < count; ++i) has_nan |= is_nan(codes[i]);
  return has_nan ? std::find_if(codes, codes + count, is_nan) - codes : count;
}

bool IsNan(Bf16 value) { return std::isnan(static_cast<float>(value)); }

// The first column of a row in the file that is no number, as the view has them.
int64_t FindNoNumber(const SliceView& view, int64_t row) {
  std::vector<float> elements(static_cast<size_t>(view.columns.size()));
  Convert(view.Row(row), view.tensor->dtype, reinterpret_cast<char*>(elements.data()), DType::kF32,
          view.columns.size());
  const auto finite = [](float element) { return std::isfinite(element); };
  return std::find_if_not(elements.begin(), elements.end(), finite) - elements.begin();
}

int64_t RowsOf(const Checkpoint& checkpoint, const std::vector<TensorSlice>& slices) {
  int64_t rows = 0;
  for (const TensorSlice& slice : slices) rows += ViewOf(checkpoint, slice).padded_rows;
  return rows;
}

// fn(row of all slices, its floats), on threads.
template <typename Fn>
void ForFloatRows(const Checkpoint& checkpoint,
                  const std::vector<TensorSlice>& slices,
                  int num_threads,
                  const Fn& fn) {
  int64_t first = 0;
  for (const TensorSlice& slice : slices) {
    const SliceView view = ViewOf(checkpoint, slice);
    InParts(view.rows.size(), /*unit=*/1, num_threads, [&](int64_t begin, int64_t end) {
      std::vector<float> row(static_cast<size_t>(view.padded_columns));
      for (int64_t i = begin; i < end; ++i) {
        Convert(view.Row(view.rows.begin + i), view.tensor->dtype,
                reinterpret_cast<char*>(row.data()), DType::kF32, view.columns.size());
        fn(first + i, row.data());
      }
    });
    first += view.padded_rows;
  }
}

}  // namespace

AwqNames AwqNamesOf(const std::string& weight) {
  return {WithSuffix(weight, ".qweight"), WithSuffix(weight, ".qzeros"),
          WithSuffix(weight, ".scales")};
}

std::string ScaleNameOf(const std::string& weight) { return WithSuffix(weight, ".weight_scale"); }

Result<kernels::QuantizedWeight> CodeReader::Read(const Checkpoint& checkpoint,
                                                  const std::vector<TensorSlice>& slices,
                                                  Quantization quantization,
                                                  const CheckpointQuantization& on_disk) {
  if (on_disk.method == Quantization::kAwq) {
    return ReadAwq(checkpoint, slices, on_disk.group_size);
  }
  if (on_disk.method != Quantization::kFp8 && quantization == Quantization::kInt8) {
    kernels::QuantizedWeight weight = ToInt8(checkpoint, slices);
    const int64_t groups = weight.scales.dim(1);
    LONGHAND_RETURN_IF_ERROR(
        CheckNumbers(checkpoint, slices, [&](const SliceView& view, int64_t i, int64_t row) {
          const Bf16* scales = group_scales_.data() + row * groups;
          return std::none_of(scales, scales + groups, IsNan) ? view.columns.size()
                                                              : FindNoNumber(view, i);
        }));
    return weight;
  }
  kernels::QuantizedWeight weight = on_disk.method == Quantization::kFp8
                                        ? ReadFp8(checkpoint, slices)
                                        : ToFp8(checkpoint, slices);
  LONGHAND_RETURN_IF_ERROR(
      CheckNumbers(checkpoint, slices, [&](const SliceView& view, int64_t, int64_t row) {
        const int64_t columns = view.columns.size();
        return FindNan(codes_.data() + row * columns, columns);
      }));
  return weight;
}

template <typename Find>
Status CodeReader::CheckNumbers(const Checkpoint& checkpoint,
                                const std::vector<TensorSlice>& slices,
                                const Find& find) const {
  int64_t first = 0;
  for (const TensorSlice& slice : slices) {
    const SliceView view = ViewOf(checkpoint, slice);
    for (int64_t i = 0; i < view.rows.size(); ++i) {
      const int64_t column = find(view, view.rows.begin + i, first + i);
      if (column == view.columns.size()) continue;
      return InvalidArgument(view.tensor->file, ": tensor ", view.tensor->name_in_file,
                             " has NaN in row ", view.rows.begin + i, ", column ",
                             view.columns.begin + column, "; weights must be numbers");
    }
    first += view.padded_rows;
  }
  return OkStatus();
}

void CodeReader::Release(const Checkpoint& checkpoint, const TensorSlice& slice) const {
  const AwqNames awq = AwqNamesOf(slice.name);
  for (const std::string& name : {slice.name, awq.codes}) {
    const CheckpointTensor* tensor = checkpoint.Find(name);
    if (tensor != nullptr) checkpoint.Release(*tensor);
  }
}

kernels::QuantizedWeight CodeReader::Fp8Rows(int64_t rows, int64_t columns) {
  codes_.resize(static_cast<size_t>(rows * columns));
  scales_.resize(static_cast<size_t>(rows));
  return {.codes = TensorView(codes_.data(), DType::kF8E4M3, {rows, columns}),
          .scales = TensorView(scales_.data(), DType::kF32, {rows}),
          .zeros = {}};
}

kernels::QuantizedWeight CodeReader::ToFp8(const Checkpoint& checkpoint,
                                           const std::vector<TensorSlice>& slices) {
  const int64_t columns = ViewOf(checkpoint, slices.front()).columns.size();
  kernels::QuantizedWeight weight = Fp8Rows(RowsOf(checkpoint, slices), columns);
  ForFloatRows(checkpoint, slices, num_threads_, [&](int64_t i, const float* row) {
    kernels::QuantizeFp8(row, columns, codes_.data() + i * columns,
                         &scales_[static_cast<size_t>(i)]);
  });
  return weight;
}

kernels::QuantizedWeight CodeReader::ToInt8(const Checkpoint& checkpoint,
                                            const std::vector<TensorSlice>& slices) {
  const int64_t rows = RowsOf(checkpoint, slices);
  const int64_t columns = ViewOf(checkpoint, slices.front()).padded_columns;
  const int64_t groups = kernels::NumInt8Groups(columns);
  // Rows that are padding stay zeros.
  codes_.assign(static_cast<size_t>(rows * columns), 0);
  group_scales_.assign(static_cast<size_t>(rows * groups), Bf16());
  ForFloatRows(checkpoint, slices, num_threads_, [&](int64_t i, const float* row) {
    kernels::QuantizeInt8(row, columns, reinterpret_cast<int8_t*>(codes_.data() + i * columns),
                          group_scales_.data() + i * groups);
  });
  return {.codes = TensorView(codes_.data(), DType::kI8, {rows, columns}),
          .scales = TensorView(group_scales_.data(), DType::kBf16, {rows, groups}),
          .zeros = {}};
}

kernels::QuantizedWeight CodeReader::ReadFp8(const Checkpoint& checkpoint,
                                             const std::vector<TensorSlice>& slices) {
  const int64_t columns = ViewOf(checkpoint, slices.front()).columns.size();
  kernels::QuantizedWeight weight = Fp8Rows(RowsOf(checkpoint, slices), columns);
  int64_t out = 0;
  for (const TensorSlice& slice : slices) {
    const SliceView view = ViewOf(checkpoint, slice);
    const SliceView scale = ViewOf(checkpoint, {.name = ScaleNameOf(slice.name)});
    for (int64_t i = view.rows.begin; i < view.rows.end; ++i, ++out) {
      std::memcpy(codes_.data() + out * columns, view.Row(i), static_cast<size_t>(columns));
      Convert(scale.Row(i), scale.tensor->dtype,
              reinterpret_cast<char*>(&scales_[static_cast<size_t>(out)]), DType::kF32, 1);
    }
  }
  return weight;
}

kernels::QuantizedWeight CodeReader::ReadAwq(const Checkpoint& checkpoint,
                                             const std::vector<TensorSlice>& slices,
                                             int64_t group_size) {
  const auto range_or_all = [](const IndexRange& range, int64_t count) {
    return range.size() == 0 ? IndexRange{0, count} : range;
  };
  const CheckpointTensor& first = *checkpoint.Find(AwqNamesOf(slices.front().name).codes);
  const IndexRange columns = range_or_all(slices.front().columns, first.shape[0]);
  const int64_t shard_group = ShardGroupSize(columns, group_size);
  const int64_t num_groups = columns.size() / shard_group;
  int64_t num_rows = 0;
  for (const TensorSlice& slice : slices) {
    const CheckpointTensor& tensor = *checkpoint.Find(AwqNamesOf(slice.name).codes);
    num_rows += range_or_all(slice.rows, tensor.shape[1] * 8).size();
  }
  codes_.assign(static_cast<size_t>(num_rows * columns.size() / 2), 0);
  group_scales_.resize(static_cast<size_t>(num_rows * num_groups));
  group_zeros_.resize(group_scales_.size());
  int64_t out = 0;
  for (const TensorSlice& slice : slices) {
    const AwqNames names = AwqNamesOf(slice.name);
    const CheckpointTensor& codes = *checkpoint.Find(names.codes);
    const CheckpointTensor& zeros = *checkpoint.Find(names.zeros);
    const CheckpointTensor& scales = *checkpoint.Find(names.scales);
    const int64_t width = scales.shape[1];
    const IndexRange rows = range_or_all(slice.rows, width);
    const auto read = [&](int64_t begin, int64_t end) {
      const IndexRange part = {rows.begin + begin, rows.begin + end};
      TransposeCodes(codes, part, columns, codes_.data() + (out + begin) * columns.size() / 2);
      for (int64_t n = part.begin; n < part.end; ++n) {
        for (int64_t g = 0; g < num_groups; ++g) {
          const int64_t group = (columns.begin + g * shard_group) / group_size;
          const auto at = static_cast<size_t>((out + n - rows.begin) * num_groups + g);
          group_zeros_[at] = static_cast<uint8_t>(Nibble(zeros, group, n));
          const int64_t element = static_cast<int64_t>(DTypeSize(scales.dtype));
          Convert(scales.data + (group * width + n) * element, scales.dtype,
                  reinterpret_cast<char*>(&group_scales_[at]), DType::kBf16, 1);
        }
      }
    };
    // Eight outputs share the words that are read.
    InParts(rows.size(), /*unit=*/8, num_threads_, read);
    out += rows.size();
  }
  return {.codes = TensorView(codes_.data(), DType::kU8, {num_rows, columns.size() / 2}),
          .scales = TensorView(group_scales_.data(), DType::kBf16, {num_rows, num_groups}),
          .zeros = TensorView(group_zeros_.data(), DType::kU8, {num_rows, num_groups})};
}

}  // namespace longhand::model
