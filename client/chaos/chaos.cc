#include "client/chaos/chaos.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "client/generate/resumable_stream.h"
#include "client/serve/ready_file.h"
#include "common/request_id.h"
#include "longhand/v1/cluster.grpc.pb.h"

namespace longhand::client {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Generous: it only ends what hangs.
constexpr std::chrono::seconds kPatience(120);
constexpr int kNumRequests = 6;
constexpr milliseconds kMaxDelay(400);
constexpr double kHurry = 0.15;  // of kills that are followed by one before they are mended
// Stops are as often shorter as longer than a second, whatever the longest is.
constexpr milliseconds kMinStop(100);
constexpr milliseconds kMiddleStop(1000);
// Who stands still for longer is replaced meanwhile, and streams go on without it.
constexpr milliseconds kSurelyTooLong(5000);
constexpr size_t kMaxFaults = 20;

std::vector<v1::GenerateRequest> MakeRequests(const ChaosConfig& config) {
  std::vector<v1::GenerateRequest> requests;
  for (int i = 0; i < kNumRequests; ++i) {
    const int64_t length = config.max_tokens * (kNumRequests + i) / (2 * kNumRequests);
    v1::GenerateRequest& request = requests.emplace_back();
    v1::ChatMessage* message = request.mutable_messages()->add_messages();
    message->set_role("user");
    message->add_content()->set_text("Chapter " + std::to_string(i) + std::string(80 * i, '.'));
    v1::Sampling* sampling = request.mutable_sampling();
    sampling->set_temperature(1);
    sampling->set_seed(config.seed + static_cast<uint64_t>(i));
    sampling->set_ignore_eos(true);
    sampling->set_max_tokens(length);
    request.mutable_return_()->set_token_ids(true);
    request.set_on_disconnect(i % 2 == 0 ? v1::ON_DISCONNECT_CONTINUE : v1::ON_DISCONNECT_CANCEL);
  }
  return requests;
}

using Events = std::vector<std::string>;  // Comparable

class Chaos {
 public:
  Chaos(const ChaosTarget& target,
        const ChaosConfig& config,
        const std::function<void(const ChaosReport&)>& on_event)
      : target_(target),
        on_event_(on_event),
        cluster_(v1::Cluster::NewStub(target.channel)),
        random_(config.seed),
        requests_(MakeRequests(config)) {
    report_.config = config;
    pulses_.resize(static_cast<size_t>(config.num_streams));
  }

  ChaosReport Run();

 private:
  struct Pulse {
    Clock::time_point last = Clock::now();  // token
    Clock::duration gap{};                  // the longest since the latest kill
    bool moved = false;
  };

  void KillThemAll();
  bool Kill(bool worker);
  void StopThemAll();
  bool StopAWorker();
  std::optional<ReadyFile> Processes();
  std::string IdOf(const std::string& stream, int64_t n) const;
  void TellEvent();
  bool WaitUntilMended(bool worker);
  bool WaitUntilAllMove();
  bool Poll(const std::function<bool()>& done);
  std::optional<v1::GetStatusResponse> Status();
  void TakeGaps(std::vector<double>* gaps);
  void Fault(const std::string& what);

  // The threads of streams.
  void Stream(size_t idx);
  bool CheckAnswer(size_t idx, const v1::GenerateRequest& request, const Events& expected);
  void OnToken(size_t idx);

  const ChaosTarget target_;
  const std::function<void(const ChaosReport&)> on_event_;
  const std::unique_ptr<v1::Cluster::Stub> cluster_;
  std::mt19937_64 random_;
  const std::string run_ = DrawRequestId("chaos");
  const std::vector<v1::GenerateRequest> requests_;
  std::vector<Events> expected_;
  int64_t next_epoch_ = 0;  // after the latest kill; of all groups, added up
  Clock::time_point killed_at_;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> interrupted_ = false;

  std::mutex mutex_;  // guards all below
  ChaosReport report_;
  std::vector<Pulse> pulses_;
};

ChaosReport Chaos::Run() {
  for (size_t i = 0; i < requests_.size(); ++i) {
    v1::GenerateRequest request = requests_[i];
    request.set_request_id(IdOf("undisturbed", i));
    auto stream = ResumableStream::Generate(target_.channel, request, kPatience);
    Events& events = expected_.emplace_back();
    for (v1::GenerateEvent event; stream.Read(&event);) events.push_back(Comparable(event));
    if (!stream.status().ok()) Fault("an undisturbed answer: " + stream.status().ToString());
  }
  std::vector<std::thread> streams;
  for (size_t i = 0; i < pulses_.size(); ++i) streams.emplace_back([this, i] { Stream(i); });
  KillThemAll();
  StopThemAll();
  stopping_ = true;
  for (std::thread& stream : streams) stream.join();
  return report_;
}

void Chaos::KillThemAll() {
  std::vector<bool> workers(static_cast<size_t>(report_.config.num_worker_kills), true);
  workers.resize(workers.size() + static_cast<size_t>(report_.config.num_coordinator_kills), false);
  std::shuffle(workers.begin(), workers.end(), random_);
  bool hurries = false;
  for (size_t i = 0; i < workers.size(); ++i) {
    const bool worker = workers[i];
    if (!hurries) {
      if (!WaitUntilAllMove()) return;
      TakeGaps(nullptr);
    }
    // Never three in a hurry: a request that loses three groups without a token is given up.
    hurries = !hurries && std::bernoulli_distribution(kHurry)(random_) && i + 1 < workers.size();
    std::this_thread::sleep_for(
        milliseconds(std::uniform_int_distribution<int64_t>(0, kMaxDelay.count())(random_)));
    if (!Kill(worker)) continue;
    if (hurries) continue;
    if (!WaitUntilMended(worker) || !WaitUntilAllMove()) return;
    TakeGaps(worker ? &report_.worker_gaps_s : &report_.coordinator_gaps_s);
    TellEvent();
  }
}

// False when the process is not there, after the kill before.
bool Chaos::Kill(bool worker) {
  const std::optional<ReadyFile> processes = Processes();
  if (!processes) return false;
  const size_t victim = random_() % processes->workers.size();
  // The epoch that a status shows while a group is not ready is the one that it will have.
  if (const auto status = Status()) {
    const auto group = static_cast<int>(victim) / status->tensor_parallel_size();
    next_epoch_ =
        status->epoch() + (status->groups(group).state() == v1::GROUP_STATE_READY ? 1 : 0);
  }
  const pid_t pid = worker ? processes->workers[victim] : processes->coordinator;
  std::lock_guard lock(mutex_);
  ++report_.num_events;
  if (kill(pid, SIGKILL) != 0) return false;
  ++(worker ? report_.num_worker_kills : report_.num_coordinator_kills);
  killed_at_ = Clock::now();
  return true;
}

void Chaos::StopThemAll() {
  for (int i = 0; i < report_.config.num_worker_stops; ++i) {
    if (!WaitUntilAllMove()) return;
    TakeGaps(nullptr);
    std::this_thread::sleep_for(
        milliseconds(std::uniform_int_distribution<int64_t>(0, kMaxDelay.count())(random_)));
    if (!StopAWorker() || !WaitUntilAllMove()) return;
    TakeGaps(&report_.stop_gaps_s);
    TellEvent();
  }
}

// The worker wakes as what it was, or has been replaced.
bool Chaos::StopAWorker() {
  const auto span = [&](milliseconds from, milliseconds to) {
    return milliseconds(std::uniform_int_distribution<int64_t>(
        std::min(from, to).count(), std::max(from, to).count())(random_));
  };
  const milliseconds longest = report_.config.max_stop;
  const milliseconds length = std::bernoulli_distribution(0.5)(random_)
                                  ? span(kMinStop, std::min(kMiddleStop, longest))
                                  : span(std::min(kMiddleStop, longest), longest);
  const std::optional<ReadyFile> before = Processes();
  if (!before) return false;
  const pid_t pid = before->workers[random_() % before->workers.size()];
  const auto begin = Clock::now();
  if (kill(pid, SIGSTOP) != 0) return true;
  const bool moves = length < kSurelyTooLong || WaitUntilAllMove();
  std::this_thread::sleep_until(begin + length);
  const bool is_gone = kill(pid, SIGCONT) != 0;
  const std::optional<ReadyFile> now = Processes();
  const bool was_replaced =
      is_gone || !now ||
      std::find(now->workers.begin(), now->workers.end(), pid) == now->workers.end();
  std::lock_guard lock(mutex_);
  ++report_.num_events;
  ++report_.num_worker_stops;
  report_.num_replaced += was_replaced ? 1 : 0;
  return moves;
}

// Nothing when the cluster says nothing of them, which is a fault.
std::optional<ReadyFile> Chaos::Processes() {
  Result<ReadyFile> processes = ReadyFile::Read(target_.ready_file);
  if (processes.ok()) return std::move(processes).value();
  Fault(processes.status().ToString());
  return std::nullopt;
}

// Another run against the same journal asks anew.
std::string Chaos::IdOf(const std::string& stream, int64_t n) const {
  return run_ + "-" + stream + "-" + std::to_string(n);
}

void Chaos::TellEvent() {
  if (!on_event_) return;
  std::unique_lock lock(mutex_);
  const ChaosReport report = report_;
  lock.unlock();
  on_event_(report);
}

// All groups are up, one of a new epoch, or those of a coordinator that did not live before the
// kill.
bool Chaos::WaitUntilMended(bool worker) {
  return Poll([&] {
    const auto status = Status();
    const auto is_up = [](const auto& group) { return group.state() == v1::GROUP_STATE_READY; };
    if (!status || !std::all_of(status->groups().begin(), status->groups().end(), is_up))
      return false;
    const milliseconds since_kill = std::chrono::ceil<milliseconds>(Clock::now() - killed_at_);
    return worker ? status->epoch() >= next_epoch_ : milliseconds(status->uptime_ms()) < since_kill;
  });
}

bool Chaos::WaitUntilAllMove() {
  {
    std::lock_guard lock(mutex_);
    for (Pulse& pulse : pulses_) pulse.moved = false;
  }
  return Poll([this] {
    std::lock_guard lock(mutex_);
    return std::all_of(pulses_.begin(), pulses_.end(), [](const Pulse& p) { return p.moved; });
  });
}

bool Chaos::Poll(const std::function<bool()>& done) {
  const auto deadline = Clock::now() + kPatience;
  while (!stopping_) {
    if (target_.is_interrupted()) {
      interrupted_ = stopping_ = true;
      return false;
    }
    if (done()) return true;
    if (Clock::now() > deadline) Fault("a stream stands still");
    std::this_thread::sleep_for(milliseconds(5));
  }
  return false;
}

std::optional<v1::GetStatusResponse> Chaos::Status() {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
  v1::GetStatusResponse response;
  if (!cluster_->GetStatus(&context, v1::GetStatusRequest(), &response).ok()) return std::nullopt;
  return response;
}

// Begins to measure anew; null: what was measured is of no kill.
void Chaos::TakeGaps(std::vector<double>* gaps) {
  std::lock_guard lock(mutex_);
  for (Pulse& pulse : pulses_) {
    const std::chrono::duration<double> gap = std::exchange(pulse.gap, {});
    if (gaps != nullptr) gaps->push_back(gap.count());
  }
}

void Chaos::Fault(const std::string& what) {
  std::lock_guard lock(mutex_);
  if (report_.faults.size() < kMaxFaults) report_.faults.push_back(what);
  stopping_ = true;
}

// One request after the other; each is brought to its end.
void Chaos::Stream(size_t idx) {
  std::mt19937_64 random(report_.config.seed * 1000 + idx);
  bool whole = true;
  for (int64_t n = 0; whole && !stopping_; ++n) {
    const size_t which = random() % requests_.size();
    v1::GenerateRequest request = requests_[which];
    request.set_request_id(IdOf(std::to_string(idx), n));
    whole = CheckAnswer(idx, request, expected_[which]);
  }
}

bool Chaos::CheckAnswer(size_t idx, const v1::GenerateRequest& request, const Events& expected) {
  auto stream = ResumableStream::Generate(target_.channel, request, kPatience);
  stream.GiveUpWhen(interrupted_);
  const std::string& id = request.request_id();
  size_t num_events = 0;
  for (v1::GenerateEvent event; stream.Read(&event); ++num_events) {
    OnToken(idx);
    if (num_events < expected.size() && Comparable(event) == expected[num_events]) continue;
    Fault(id + ": event " + std::to_string(num_events + 1) + " is another");
    return false;
  }
  if (!stream.status().ok()) Fault(id + " ended with " + stream.status().ToString());
  if (stream.status().ok() && num_events != expected.size())
    Fault(id + " has " + std::to_string(num_events) + " events");
  std::lock_guard lock(mutex_);
  ++report_.num_answers;
  report_.num_tokens += static_cast<int64_t>(num_events);
  return report_.faults.empty();
}

void Chaos::OnToken(size_t idx) {
  std::lock_guard lock(mutex_);
  Pulse& pulse = pulses_[idx];
  const auto now = Clock::now();
  pulse.gap = std::max(pulse.gap, now - pulse.last);
  pulse.last = now;
  pulse.moved = true;
}

}  // namespace

std::string Comparable(v1::GenerateEvent event) {
  event.clear_request_id();
  if (event.has_usage()) event.mutable_usage()->clear_cached_tokens();
  return event.SerializeAsString();
}

ChaosReport RunChaos(const ChaosTarget& target,
                     const ChaosConfig& config,
                     const std::function<void(const ChaosReport&)>& on_event) {
  return Chaos(target, config, on_event).Run();
}

}  // namespace longhand::client
