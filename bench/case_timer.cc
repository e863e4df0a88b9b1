#include "bench/case_timer.h"

#include <cstdio>
#include <cstring>
#include <random>
#include <sstream>

namespace longhand::bench {

namespace {

size_t BytesOf(DType dtype, std::initializer_list<int64_t> shape) {
  auto bytes = static_cast<int64_t>(DTypeSize(dtype));
  for (const int64_t dim : shape) bytes *= dim;
  return static_cast<size_t>(bytes);
}

}  // namespace

Result<TensorView> Tensors::Zeros(DType dtype, std::initializer_list<int64_t> shape) {
  LONGHAND_ASSIGN_OR_RETURN(auto buffer, ops_.Allocate(BytesOf(dtype, shape)));
  buffers_.push_back(std::move(buffer));
  return TensorView(buffers_.back()->data(), dtype, shape);
}

Result<TensorView> Tensors::Staging(DType dtype, std::initializer_list<int64_t> shape) {
  LONGHAND_ASSIGN_OR_RETURN(auto buffer, ops_.AllocateStaging(BytesOf(dtype, shape)));
  buffers_.push_back(std::move(buffer));
  std::memset(buffers_.back()->data(), 0, BytesOf(dtype, shape));
  return TensorView(buffers_.back()->data(), dtype, shape);
}

Result<TensorView> Tensors::Random(DType dtype,
                                   std::initializer_list<int64_t> shape,
                                   float deviation) {
  LONGHAND_ASSIGN_OR_RETURN(const TensorView view, Zeros(dtype, shape));
  LONGHAND_RETURN_IF_ERROR(timer_.Fill(view, deviation, buffers_.size()));
  return view;
}

Result<TensorView> Tensors::RandomCodes(DType dtype, std::initializer_list<int64_t> shape) {
  LONGHAND_ASSIGN_OR_RETURN(const TensorView view, Zeros(dtype, shape));
  std::vector<uint8_t> codes(std::min<size_t>(view.num_bytes(), (16 << 20) - 5));
  std::mt19937_64 draw(23);
  for (size_t i = 0; i < codes.size(); i += sizeof(uint64_t)) {
    // The exponent's highest two bits are never both 1.
    const uint64_t eight = draw() & 0xbfbfbfbfbfbfbfbfu;
    std::memcpy(&codes[i], &eight, std::min(sizeof(eight), codes.size() - i));
  }
  for (size_t at = 0; at < view.num_bytes(); at += codes.size()) {
    LONGHAND_RETURN_IF_ERROR(ops_.CopyToDevice(static_cast<char*>(view.data()) + at, codes.data(),
                                               std::min(codes.size(), view.num_bytes() - at)));
  }
  LONGHAND_RETURN_IF_ERROR(ops_.Synchronize());
  return view;
}

void CaseTimer::Roofs() {
  std::printf("{\"op\": \"device\", \"case\": \"%s\", \"status\": \"pass\"}\n",
              timer_.device().c_str());
  for (const int64_t mb : {1024, 256, 128, 64, 32, 16}) {
    const int64_t bytes = mb << 20;
    const Result<Times> times = timer_.MeasureRead(bytes);
    Print({.op = "roof",
           .name = "read " + std::to_string(mb) + " MiB",
           .bytes = static_cast<double>(bytes)},
          times);
  }
}

void CaseTimer::Time(const Work& work, const Make& make) {
  if (work.name.find(only_) == std::string::npos) return;
  Tensors tensors(ops_, timer_);
  const auto enqueue = make(tensors);
  Result<Times> times = enqueue.ok() ? timer_.Measure(*enqueue) : Result<Times>(enqueue.status());
  const Status finished = ops_.Synchronize();
  if (times.ok() && !finished.ok()) times = finished;
  Print(work, times);
}

void CaseTimer::Trials() {
  std::string found = ops_.TrialResults();
  if (found.empty()) return;
  std::replace(found.begin(), found.end(), '"', '\'');
  std::printf("{\"op\": \"trials\", \"case\": \"%s\", \"status\": \"pass\"}\n", found.c_str());
}

void CaseTimer::Print(const Work& work, const Result<Times>& times) {
  std::printf("{\"op\": \"%s\", \"case\": \"%s\", ", work.op.c_str(), work.name.c_str());
  if (!work.variant.empty()) std::printf("\"variant\": \"%s\", ", work.variant.c_str());
  if (times.ok()) {
    std::printf("\"status\": \"pass\", \"ns\": %.0f, \"best_ns\": %.0f, \"samples\": %d, ",
                times->median_ns, times->best_ns, times->samples);
  } else {
    const bool lacking = times.status().code() == StatusCode::kUnimplemented;
    failed_ = failed_ || !lacking;
    std::string message(times.status().message());
    std::replace(message.begin(), message.end(), '"', '\'');
    std::printf("\"status\": \"%s\", \"message\": \"%s\", ", lacking ? "unsupported" : "fail",
                message.c_str());
  }
  std::printf("\"bytes\": %.0f, \"flops\": %.0f, \"shape\": {%s}}\n", work.bytes, work.flops,
              work.shape.c_str());
  std::fflush(stdout);
}

std::string Members(const std::vector<std::pair<const char*, int64_t>>& numbers) {
  std::ostringstream out;
  for (const auto& [name, value] : numbers) {
    out << (out.tellp() > 0 ? ", " : "") << '"' << name << "\": " << value;
  }
  return out.str();
}

}  // namespace longhand::bench
