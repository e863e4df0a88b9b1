#include "coordinator/tracing/otlp_exporter.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace longhand::tracing {
namespace {

using std::chrono::milliseconds;

constexpr size_t kMaxQueued = 8192;
constexpr size_t kMaxBatch = 512;
// More spans may come until then, to go with the first.
constexpr milliseconds kGather(1000);
constexpr milliseconds kFirstPause(1000), kLongestPause(30'000);
constexpr milliseconds kToEnd(2000);
constexpr long kTimeoutMs = 10'000;

std::string WithPath(const std::string& endpoint) {
  const size_t host = endpoint.find("://") + 3;
  const size_t path = endpoint.find('/', host);
  if (path == std::string::npos) return endpoint + "/v1/traces";
  return path + 1 == endpoint.size() ? endpoint + "v1/traces" : endpoint;
}

// What OTLP says may be sent again.
bool MayPass(long status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

size_t Discard(char*, size_t size, size_t count, void*) { return size * count; }

}  // namespace

OtlpExporter::OtlpExporter(const std::string& endpoint,
                           const std::string& instance,
                           Metrics& metrics)
    : url_(WithPath(endpoint)),
      instance_(instance),
      exported_(metrics.GetCounter("longhand_trace_spans_total", {{"outcome", "exported"}})),
      dropped_(metrics.GetCounter("longhand_trace_spans_total", {{"outcome", "dropped"}})),
      thread_([this] { Run(); }) {}

OtlpExporter::~OtlpExporter() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
    last_moment_ = std::chrono::steady_clock::now() + kToEnd;
  }
  changed_.notify_all();
  thread_.join();
}

void OtlpExporter::Export(std::vector<Span> spans) {
  std::lock_guard lock(mutex_);
  const size_t room = kMaxQueued - queue_.size();
  if (spans.size() > room) {
    dropped_.Increment(static_cast<double>(spans.size() - room));
    spans.resize(room);
  }
  if (queue_.empty() && !spans.empty()) changed_.notify_all();
  queue_.insert(queue_.end(), std::make_move_iterator(spans.begin()),
                std::make_move_iterator(spans.end()));
}

void OtlpExporter::Run() {
  while (true) {
    const std::vector<Span> batch = TakeBatch();
    if (batch.empty()) return;
    const Outcome outcome = SendPatiently(batch);
    (outcome == Outcome::kSent ? exported_ : dropped_).Increment(static_cast<double>(batch.size()));
    if (outcome == Outcome::kUnreachable) return;  // and it is time to end
  }
}

OtlpExporter::Outcome OtlpExporter::SendPatiently(const std::vector<Span>& spans) {
  milliseconds pause = kFirstPause;
  while (true) {
    const Outcome outcome = Send(spans);
    if (outcome != Outcome::kUnreachable) {
      if (!std::exchange(was_reached_, true)) spdlog::info("spans go to {} again", url_);
      return outcome;
    }
    if (std::exchange(was_reached_, false))
      spdlog::warn("spans wait: {} cannot be reached, or is busy", url_);
    if (is_stopping()) return outcome;
    Pause(pause);
    pause = std::min(pause * 2, kLongestPause);
  }
}

std::vector<Span> OtlpExporter::TakeBatch() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return is_stopping_ || !queue_.empty(); });
  changed_.wait_for(lock, kGather, [this] { return is_stopping_; });
  const size_t count = std::min(queue_.size(), kMaxBatch);
  const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(count);
  std::vector<Span> batch(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
  queue_.erase(queue_.begin(), end);
  return batch;
}

OtlpExporter::Outcome OtlpExporter::Send(const std::vector<Span>& spans) {
  const std::string body = OtlpJson(spans, instance_);
  request_.Begin(url_, "http,https", /*ca_file=*/"");
  request_.AddHeader("Content-Type: application/json");
  curl_easy_setopt(request_.get(), CURLOPT_POSTFIELDSIZE_LARGE,
                   static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(request_.get(), CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(request_.get(), CURLOPT_WRITEFUNCTION, Discard);
  curl_easy_setopt(request_.get(), CURLOPT_TIMEOUT_MS, kTimeoutMs);
  curl_easy_setopt(request_.get(), CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(request_.get(), CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(request_.get(), CURLOPT_XFERINFODATA, this);
  if (curl_easy_perform(request_.get()) != CURLE_OK) return Outcome::kUnreachable;
  const long status = request_.http_status();
  if (status >= 200 && status < 300) return Outcome::kSent;
  if (MayPass(status)) return Outcome::kUnreachable;
  spdlog::warn("{} refused {} spans with status {}", url_, spans.size(), status);
  return Outcome::kRefused;
}

void OtlpExporter::Pause(milliseconds duration) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, duration, [this] { return is_stopping_; });
}

bool OtlpExporter::is_stopping() {
  std::lock_guard lock(mutex_);
  return is_stopping_;
}

bool OtlpExporter::is_late() {
  std::lock_guard lock(mutex_);
  return is_stopping_ && std::chrono::steady_clock::now() > last_moment_;
}

// About once a second, and when something happens; other than 0 ends the request.
int OtlpExporter::OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<OtlpExporter*>(self)->is_late() ? 1 : 0;
}

}  // namespace longhand::tracing
