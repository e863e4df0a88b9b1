// OtlpExporter: spans to a collector, by OTLP over HTTP. Nobody waits for it: what the collector
// does not take in time is dropped, and counted.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/curl/curl_request.h"
#include "common/metrics.h"
#include "coordinator/tracing/span.h"

namespace longhand::tracing {

class OtlpExporter {
 public:
  // `endpoint`: a URL, complete but for the path, which is /v1/traces where it has none.
  OtlpExporter(const std::string& endpoint, const std::string& instance, Metrics& metrics);
  // Tries once more to send what is left, for at most two seconds.
  ~OtlpExporter();

  // Any thread; never waits.
  void Export(std::vector<Span> spans);

 private:
  enum class Outcome { kSent, kRefused, kUnreachable };

  void Run();
  // The spans to be sent next; none when it is time to end.
  std::vector<Span> TakeBatch();
  // Again and again while the collector cannot be reached, until it is time to end.
  Outcome SendPatiently(const std::vector<Span>& spans);
  Outcome Send(const std::vector<Span>& spans);
  void Pause(std::chrono::milliseconds duration);
  bool is_stopping();
  // Whether what is under way must be given up.
  bool is_late();
  static int OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t);

  const std::string url_;
  const std::string instance_;
  Counter& exported_;
  Counter& dropped_;
  CurlRequest request_;  // the thread's, as the next
  bool was_reached_ = true;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Span> queue_;
  bool is_stopping_ = false;
  std::chrono::steady_clock::time_point last_moment_;  // once it is stopping
  std::thread thread_;                                 // last: runs with all of the above
};

}  // namespace longhand::tracing
