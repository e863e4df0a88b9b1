// Chaos: streams run without a pause while workers and the coordinator are killed, and workers
// stopped, at random points. Whatever happens, each answer must be the one of an undisturbed run,
// event by event.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "longhand/v1/generation.pb.h"

namespace longhand::client {

struct ChaosTarget {
  std::shared_ptr<grpc::Channel> channel;
  std::filesystem::path ready_file;  // read again before each kill: processes come and go
  std::function<bool()> is_interrupted = [] { return false; };  // then all ends at once
};

struct ChaosConfig {
  int num_worker_kills = 0;
  int num_coordinator_kills = 0;
  int num_worker_stops = 0;  // SIGSTOP, and SIGCONT after at most max_stop
  std::chrono::milliseconds max_stop = std::chrono::seconds(30);
  int num_streams = 8;
  int64_t max_tokens = 600;  // of an answer; half as many at least
  uint64_t seed = 1;
};

struct ChaosReport {
  ChaosConfig config;
  int num_worker_kills = 0;  // that met a living process
  int num_coordinator_kills = 0;
  int num_worker_stops = 0;
  int num_replaced = 0;  // workers that were stopped and did not live to go on
  int64_t num_answers = 0;
  int64_t num_tokens = 0;
  // What went wrong, one sentence each; empty when no token was lost, doubled or changed.
  std::vector<std::string> faults;
  // Of each kill and stream: the longest time without a token, from the kill until all go on.
  std::vector<double> worker_gaps_s;
  std::vector<double> coordinator_gaps_s;
  std::vector<double> stop_gaps_s;

  // Kills and stops that were tried.
  int num_events = 0;
  std::string ToJson() const;
  std::string ToText() const;
};

// An event as every run of its request has it: without the request's name, and without how much of
// the prompt was in the KV cache already, which depends on what ran before.
std::string Comparable(v1::GenerateEvent event);

// `on_event` (may be empty) hears of each kill and stop, on the calling thread.
ChaosReport RunChaos(const ChaosTarget& target,
                     const ChaosConfig& config,
                     const std::function<void(const ChaosReport&)>& on_event = {});

}  // namespace longhand::client
