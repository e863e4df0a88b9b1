#include "tests/conformance/host_tensor.h"

#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

#include "common/bf16.h"
#include "common/split_mix.h"

namespace longhand::conformance {
namespace {

template <typename T>
T Read(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

template <typename T>
void Write(uint8_t* p, T value) {
  std::memcpy(p, &value, sizeof(T));
}

template <typename T, typename Draw>
void Fill(Draw&& draw, HostTensor* out) {
  for (size_t at = 0; at < out->bytes.size(); at += sizeof(T))
    Write(out->bytes.data() + at, T(static_cast<float>(draw())));
}

int64_t Product(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

HostTensor::HostTensor(DType type, std::vector<int64_t> dims)
    : dtype(type),
      shape(std::move(dims)),
      bytes(static_cast<size_t>(Product(shape)) * DTypeSize(type), 0) {}

int64_t HostTensor::num_elements() const { return Product(shape); }

double HostTensor::At(int64_t i) const {
  const uint8_t* p = bytes.data() + static_cast<size_t>(i) * DTypeSize(dtype);
  switch (dtype) {
    case DType::kF32:
      return Read<float>(p);
    case DType::kBf16:
      return static_cast<float>(Read<Bf16>(p));
    case DType::kI32:
      return Read<int32_t>(p);
    case DType::kI64:
      return static_cast<double>(Read<int64_t>(p));
    case DType::kU8:
      return *p;
    case DType::kI8:
      return Read<int8_t>(p);
    case DType::kF8E4M3:
      return static_cast<float>(Read<Fp8E4M3>(p));
    default:
      break;
  }
  LONGHAND_CHECK(false) << DTypeName(dtype);
  return 0;
}

void HostTensor::Set(int64_t i, double value) {
  uint8_t* p = bytes.data() + static_cast<size_t>(i) * DTypeSize(dtype);
  switch (dtype) {
    case DType::kF32:
      return Write(p, static_cast<float>(value));
    case DType::kBf16:
      return Write(p, Bf16(static_cast<float>(value)));
    case DType::kI32:
      return Write(p, static_cast<int32_t>(value));
    case DType::kI64:
      return Write(p, static_cast<int64_t>(value));
    case DType::kU8:
      return Write(p, static_cast<uint8_t>(value));
    case DType::kI8:
      return Write(p, static_cast<int8_t>(value));
    case DType::kF8E4M3:
      return Write(p, Fp8E4M3(static_cast<float>(value)));
    default:
      break;
  }
  LONGHAND_CHECK(false) << DTypeName(dtype);
}

TensorView MakeView(void* data, DType dtype, const std::vector<int64_t>& s) {
  switch (s.size()) {
    case 0:
      return {};
    case 1:
      return {data, dtype, {s[0]}};
    case 2:
      return {data, dtype, {s[0], s[1]}};
    case 3:
      return {data, dtype, {s[0], s[1], s[2]}};
    case 4:
      return {data, dtype, {s[0], s[1], s[2], s[3]}};
    default:
      return {data, dtype, {s[0], s[1], s[2], s[3], s[4]}};
  }
}

TensorView HostTensor::view() { return MakeView(bytes.data(), dtype, shape); }

HostTensor HostTensor::Rows(int64_t begin, int64_t count) const {
  HostTensor out = *this;
  out.shape[0] = count;
  const size_t row = shape[0] == 0 ? 0 : bytes.size() / static_cast<size_t>(shape[0]);
  const auto first = bytes.begin() + static_cast<int64_t>(static_cast<size_t>(begin) * row);
  out.bytes.assign(first, first + static_cast<int64_t>(static_cast<size_t>(count) * row));
  return out;
}

std::string HostTensor::ToString() const { return MakeView(nullptr, dtype, shape).ToString(); }

HostTensor Int32(const std::vector<int64_t>& values, std::vector<int64_t> shape) {
  if (shape.empty()) shape = {static_cast<int64_t>(values.size())};
  HostTensor out(DType::kI32, std::move(shape));
  for (size_t i = 0; i < values.size(); ++i) {
    out.Set(static_cast<int64_t>(i), static_cast<double>(values[i]));
  }
  return out;
}

HostTensor Int64(const std::vector<int64_t>& values) {
  HostTensor out(DType::kI64, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) {
    out.Set(static_cast<int64_t>(i), static_cast<double>(values[i]));
  }
  return out;
}

uint64_t Rng::Next() { return SplitMix64(state_); }

// The sum of four uniform numbers, scaled: near enough to normal, and quick for large weights.
HostTensor Rng::Normal(std::vector<int64_t> shape, DType dtype, double scale) {
  HostTensor out(dtype, std::move(shape));
  const double factor = scale * 1.7320508075688772 / 65536;
  uint64_t state = state_;  // In a register: bytes that are written could be a member.
  const auto draw = [&] {
    const uint64_t bits = SplitMix64(state);
    const uint64_t sum =
        (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    return (static_cast<double>(sum) - 131070) * factor;
  };
  switch (dtype) {
    case DType::kF32:
      Fill<float>(draw, &out);
      break;
    case DType::kBf16:
      Fill<Bf16>(draw, &out);
      break;
    case DType::kF8E4M3:
      Fill<Fp8E4M3>(draw, &out);
      break;
    default:
      LONGHAND_CHECK(false) << DTypeName(dtype);
  }
  state_ = state;
  return out;
}

HostTensor Rng::Bytes(std::vector<int64_t> shape) {
  HostTensor out(DType::kU8, std::move(shape));
  for (uint8_t& byte : out.bytes) byte = static_cast<uint8_t>(Next() >> 40);
  return out;
}

std::vector<int64_t> Rng::Permutation(int64_t count) {
  std::vector<int64_t> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), 0);
  for (int64_t i = count - 1; i > 0; --i) std::swap(out[i], out[Below(i + 1)]);
  return out;
}

}  // namespace longhand::conformance
