#include "tests/conformance/roof.h"

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>

namespace longhand::conformance {
namespace {

constexpr size_t kBytes = size_t{256} << 20;
constexpr int64_t kFmaRounds = 4'000'000;

volatile float g_sink;  // keeps the work alive

// Sums, so that every byte is used; 8 accumulators hide the latency of additions.
__attribute__((target("avx512f"))) float Read512(const float* p, size_t count) {
  __m512 sum[8] = {};
  for (size_t i = 0; i < count; i += 128) {
    for (int j = 0; j < 8; ++j) sum[j] = _mm512_add_ps(sum[j], _mm512_load_ps(p + i + 16 * j));
  }
  for (int j = 1; j < 8; ++j) sum[0] = _mm512_add_ps(sum[0], sum[j]);
  return _mm512_cvtss_f32(sum[0]);
}

__attribute__((target("avx2"))) float Read256(const float* p, size_t count) {
  __m256 sum[8] = {};
  for (size_t i = 0; i < count; i += 64) {
    for (int j = 0; j < 8; ++j) sum[j] = _mm256_add_ps(sum[j], _mm256_load_ps(p + i + 8 * j));
  }
  for (int j = 1; j < 8; ++j) sum[0] = _mm256_add_ps(sum[0], sum[j]);
  return _mm256_cvtss_f32(sum[0]);
}

__attribute__((target("avx512f"))) float Fma512(int64_t rounds) {
  __m512 sum[12];  // that differ, or the compiler makes one of them
  for (int j = 0; j < 12; ++j) sum[j] = _mm512_set1_ps(static_cast<float>(j));
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int64_t i = 0; i < rounds; ++i) {
    for (__m512& s : sum) s = _mm512_fmadd_ps(s, a, b);
  }
  for (int j = 1; j < 12; ++j) sum[0] = _mm512_add_ps(sum[0], sum[j]);
  return _mm512_cvtss_f32(sum[0]);
}

__attribute__((target("avx2,fma"))) float Fma256(int64_t rounds) {
  __m256 sum[12];
  for (int j = 0; j < 12; ++j) sum[j] = _mm256_set1_ps(static_cast<float>(j));
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (int64_t i = 0; i < rounds; ++i) {
    for (__m256& s : sum) s = _mm256_fmadd_ps(s, a, b);
  }
  for (int j = 1; j < 12; ++j) sum[0] = _mm256_add_ps(sum[0], sum[j]);
  return _mm256_cvtss_f32(sum[0]);
}

// Seconds that `work(thread)` takes on all threads at once: the best of nine, as others may use the
// cores too.
double BestSeconds(int num_threads, const std::function<void(int)>& work) {
  using Clock = std::chrono::steady_clock;
  constexpr int kRepeats = 9;
  std::barrier begin(num_threads), end(num_threads);
  double best = 1e9;
  std::vector<std::thread> threads;
  for (int t = 0; t < num_threads; ++t) {
    threads.emplace_back([&, t] {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(t, &set);
      (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
      for (int i = 0; i < kRepeats; ++i) {
        begin.arrive_and_wait();
        const auto start = Clock::now();
        work(t);
        end.arrive_and_wait();
        const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
        if (t == 0) best = std::min(best, seconds);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return best;
}

Record RoofRecord(const std::string& name, double seconds, double bytes, double flops) {
  return {.op = "roof",
          .name = name,
          .status = "pass",
          .timed = true,
          .ns = seconds * 1e9,
          .best_ns = seconds * 1e9,
          .bytes = bytes,
          .flops = flops};
}

}  // namespace

std::vector<Record> MeasureRoof(int num_threads) {
  const bool wide = __builtin_cpu_supports("avx512f");
  std::vector<float*> memory;
  for (int t = 0; t < num_threads; ++t) {
    memory.push_back(static_cast<float*>(std::aligned_alloc(size_t{2} << 20, kBytes)));
    (void)madvise(memory.back(), kBytes, MADV_HUGEPAGE);
    std::memset(memory.back(), 0, kBytes);
  }
  constexpr size_t kFloats = kBytes / sizeof(float);
  const double read = BestSeconds(num_threads, [&](int t) {
    g_sink = wide ? Read512(memory[t], kFloats) : Read256(memory[t], kFloats);
  });
  for (float* p : memory) std::free(p);
  const double fma = BestSeconds(
      num_threads, [&](int) { g_sink = wide ? Fma512(kFmaRounds) : Fma256(kFmaRounds); });
  const std::string threads = ", " + std::to_string(num_threads) + " threads";
  const double lanes = wide ? 16 : 8;
  return {
      RoofRecord("read bandwidth" + threads, read, static_cast<double>(kBytes) * num_threads, 0),
      RoofRecord("f32 multiply-adds" + threads, fma, 0,
                 2.0 * 12 * lanes * static_cast<double>(kFmaRounds) * num_threads)};
}

}  // namespace longhand::conformance
