#include "client/bench/bench_prompts.h"

#include <boost/json.hpp>
#include <cmath>
#include <fstream>
#include <iterator>

#include "common/split_mix.h"

namespace longhand::client {
namespace {

constexpr const char* kWords[] = {
    "river",  "stone",     "garden",  "window",  "letter",  "morning", "winter",  "harbour",
    "candle", "mountain",  "silver",  "quiet",   "ancient", "narrow",  "golden",  "broken",
    "walks",  "remembers", "crosses", "follows", "opens",   "paints",  "under",   "behind",
    "across", "before",    "the",     "a",       "and",     "with",    "story",   "road",
    "bridge", "voice",     "market",  "sailor",  "teacher", "lantern", "orchard", "village",
    "slowly", "never",     "always",  "north"};

double Uniform(uint64_t& state) { return static_cast<double>(SplitMix64(state) >> 11) * 0x1.0p-53; }

}  // namespace

std::vector<std::string> RandomPrompts(int64_t count, int64_t num_words, uint64_t seed) {
  uint64_t state = seed;
  std::vector<std::string> prompts;
  for (int64_t i = 0; i < count; ++i) {
    // What prompts have in common would come out of a prefix cache.
    std::string prompt = "Text " + std::to_string(SplitMix64(state) % 1'000'000) + ": write on.";
    for (int64_t word = 4; word < num_words; ++word)
      prompt += std::string(" ") + kWords[SplitMix64(state) % std::size(kWords)];
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

Result<std::vector<std::string>> PromptsOfFile(const std::filesystem::path& path, int64_t count) {
  std::ifstream file(path);
  if (!file) return NotFound("the prompts' file ", path.string(), " cannot be read");
  std::vector<std::string> lines;
  int64_t number = 0;
  for (std::string line; static_cast<int64_t>(lines.size()) < count && std::getline(file, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (line.front() == '{') {
      boost::json::error_code error;
      const boost::json::value value = boost::json::parse(line, error);
      const boost::json::value* prompt = error ? nullptr : value.as_object().if_contains("prompt");
      if (prompt == nullptr || !prompt->is_string())
        return InvalidArgument(path.string(), ":", number,
                               ": expected an object like {\"prompt\": \"...\"}");
      line = std::string(prompt->get_string());
    }
    lines.push_back(std::move(line));
  }
  if (lines.empty())
    return InvalidArgument(path.string(), " has no prompts; it must have one a line");
  std::vector<std::string> prompts;
  for (int64_t i = 0; i < count; ++i)
    prompts.push_back(lines[static_cast<size_t>(i) % lines.size()]);
  return prompts;
}

std::vector<double> ArrivalTimes(int64_t count, double rate, uint64_t seed) {
  uint64_t state = ~seed;  // Other numbers than those of the prompts.
  std::vector<double> times(static_cast<size_t>(count), 0.0);
  if (rate <= 0) return times;
  double now = 0;
  for (double& time : times) {
    time = now;
    now -= std::log1p(-Uniform(state)) / rate;
  }
  return times;
}

}  // namespace longhand::client
