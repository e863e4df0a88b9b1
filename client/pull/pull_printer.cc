#include "client/pull/pull_printer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace longhand::client {
namespace {

constexpr std::chrono::seconds kPlainEvery(10);

}  // namespace

std::string HumanBytes(int64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

PullPrinter::PullPrinter(PullProgress& progress, bool is_terminal, bool is_quiet)
    : progress_(progress), is_terminal_(is_terminal), is_quiet_(is_quiet) {}

std::string PullPrinter::Summary() const {
  const int64_t total = progress_.total_bytes;
  const int64_t downloaded = std::max<int64_t>(0, progress_.downloaded_bytes);
  const int64_t come = std::clamp<int64_t>(progress_.present_bytes + downloaded, 0, total);
  const double seconds =
      std::max(std::chrono::duration<double>(Clock::now() - start_).count(), 0.1);
  const double rate = static_cast<double>(downloaded) / seconds;
  std::string text =
      fmt::format("{} of {} files, {} of {} ({}%), {}/s", progress_.finished_files,
                  progress_.total_files, HumanBytes(come), HumanBytes(total),
                  total == 0 ? 0 : come * 100 / total, HumanBytes(static_cast<int64_t>(rate)));
  if (rate > 0 && come < total) {
    const auto left = static_cast<int64_t>(static_cast<double>(total - come) / rate);
    text += fmt::format(", {}:{:02} left", left / 60, left % 60);
  }
  return text;
}

void PullPrinter::Update() {
  if (is_quiet_) return;
  PrintLines();
  if (progress_.total_files == 0) return;
  if (is_terminal_) {
    fmt::print(stderr, "\r\033[K{}", Summary());
    has_line_ = true;
  } else if (Clock::now() - shown_ >= kPlainEvery) {
    fmt::print(stderr, "{}\n", Summary());
    shown_ = Clock::now();
  }
  std::fflush(stderr);
}

void PullPrinter::Close() {
  if (is_quiet_) return;
  PrintLines();
  if (progress_.total_files > 0) fmt::print(stderr, "{}\n", Summary());
  std::fflush(stderr);
}

void PullPrinter::PrintLines() {
  for (const std::string& line : progress_.TakeLines()) {
    fmt::print(stderr, "{}{}\n", has_line_ ? "\r\033[K" : "", line);
    has_line_ = false;
  }
  if (has_line_) fmt::print(stderr, "\r\033[K");
  has_line_ = false;
}

}  // namespace longhand::client
