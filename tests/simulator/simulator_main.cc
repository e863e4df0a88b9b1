// scheduler_simulator: runs seeds, prints a line for each, ends with 1 at the first that fails.
//   scheduler_simulator [--first-seed N] [--seeds N] [--turns N]
//   scheduler_simulator --replay N [--turns N]     one seed, every event printed
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/simulator/scheduler_simulation.h"

namespace {

using longhand::engine::SchedulerSimulation;

bool RunSeed(uint64_t seed, int64_t num_turns, bool verbose, SchedulerSimulation::Counts* sum) {
  // Said first, for a failed LONGHAND_CHECK ends the program.
  std::printf("seed %lu:", static_cast<unsigned long>(seed));
  std::fflush(stdout);
  SchedulerSimulation simulation(seed);
  simulation.set_verbose(verbose);
  if (verbose) std::printf("\n");
  const std::string error = simulation.Run(num_turns);
  const SchedulerSimulation::Counts& counts = simulation.counts();
  std::printf(" %ld steps, %ld answers, %ld preempted\n", static_cast<long>(counts.steps),
              static_cast<long>(counts.answers), static_cast<long>(counts.preemptions));
  if (!error.empty())
    std::printf("seed %lu FAILED: %s\nagain, with every event: --replay %lu --turns %ld\n",
                static_cast<unsigned long>(seed), error.c_str(), static_cast<unsigned long>(seed),
                static_cast<long>(num_turns));
  sum->steps += counts.steps;
  sum->answers += counts.answers;
  sum->cancelled += counts.cancelled;
  sum->refused += counts.refused;
  sum->preemptions += counts.preemptions;
  sum->swaps_out += counts.swaps_out;
  sum->swaps_in += counts.swaps_in;
  sum->hit_tokens += counts.hit_tokens;
  sum->groups_lost += counts.groups_lost;
  sum->waits_for_blocks += counts.waits_for_blocks;
  sum->longest_run = std::max(sum->longest_run, counts.longest_run);
  sum->longest_pause = std::max(sum->longest_pause, counts.longest_pause);
  return error.empty();
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t first_seed = 1;
  int64_t num_seeds = 1000;
  int64_t num_turns = 1500;
  bool verbose = false;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const char* value = i + 1 < argc ? argv[++i] : nullptr;
    if (value == nullptr ||
        (flag != "--first-seed" && flag != "--seeds" && flag != "--turns" && flag != "--replay")) {
      std::fprintf(stderr, "usage: %s [--first-seed N] [--seeds N] [--turns N] [--replay SEED]\n",
                   argv[0]);
      return 2;
    }
    const long long number = std::atoll(value);
    if (flag == "--first-seed" || flag == "--replay") first_seed = static_cast<uint64_t>(number);
    if (flag == "--seeds") num_seeds = number;
    if (flag == "--turns") num_turns = number;
    if (flag == "--replay") {
      num_seeds = 1;
      verbose = true;
    }
  }
  SchedulerSimulation::Counts sum;
  for (int64_t i = 0; i < num_seeds; ++i) {
    if (!RunSeed(first_seed + static_cast<uint64_t>(i), num_turns, verbose, &sum)) return 1;
  }
  std::printf(
      "%ld seeds: %ld steps, %ld answers, %ld cancelled, %ld refused, %ld preemptions, %ld groups "
      "lost,\n"
      "%ld blocks swapped out, %ld in, %ld tokens from the prefix cache,\n"
      "%ld waits of a stream for a block; longest from admission to end %ld steps, longest pause "
      "of the oldest %ld\n",
      static_cast<long>(num_seeds), static_cast<long>(sum.steps), static_cast<long>(sum.answers),
      static_cast<long>(sum.cancelled), static_cast<long>(sum.refused),
      static_cast<long>(sum.preemptions), static_cast<long>(sum.groups_lost),
      static_cast<long>(sum.swaps_out), static_cast<long>(sum.swaps_in),
      static_cast<long>(sum.hit_tokens), static_cast<long>(sum.waits_for_blocks),
      static_cast<long>(sum.longest_run), static_cast<long>(sum.longest_pause));
  return 0;
}
