#include "coordinator/cluster/worker_link.h"

#include <chrono>
#include <utility>

namespace longhand::cluster {
namespace {

namespace wire = worker::v1;
using std::chrono::milliseconds;

constexpr milliseconds kPulsePeriod(200);
// What one attempt to connect may take; the processors may be busy.
constexpr milliseconds kConnectTimeout(2000);

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(-1);
  args.SetMaxSendMessageSize(-1);
  // A worker that comes back must be found at once, whatever its predecessor did.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<int>(kConnectTimeout.count()));
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), args);
}

PulseState FromWire(const wire::Pulse& pulse) {
  return {.epoch = pulse.epoch(),
          .progress = pulse.progress(),
          .is_busy = pulse.is_busy(),
          .waits_for_peers = pulse.waits_for_peers(),
          .tells_pieces = pulse.tells_pieces()};
}

}  // namespace

// One Watch call.
class WorkerLink::PulseStream final : public grpc::ClientReadReactor<wire::Pulse> {
 public:
  static std::shared_ptr<PulseStream> Open(WorkerLink& link, Stub& stub) {
    std::shared_ptr<PulseStream> stream(new PulseStream(link));
    stream->self_ = stream;
    stream->request_.set_period_ms(kPulsePeriod.count());
    stub.async()->Watch(&stream->context_, &stream->request_, stream.get());
    stream->StartRead(&stream->pulse_);
    return stream;
  }
  void Start() { StartCall(); }
  void Cancel() { context_.TryCancel(); }

 private:
  explicit PulseStream(WorkerLink& link) : link_(link) {}

  void OnReadDone(bool ok) override {
    if (!ok) return;
    link_.OnPulse(*this, pulse_);
    StartRead(&pulse_);
  }
  void OnDone(const grpc::Status&) override { link_.OnEnd(std::move(self_)); }

  WorkerLink& link_;
  grpc::ClientContext context_;
  wire::WatchRequest request_;
  wire::Pulse pulse_;
  std::shared_ptr<PulseStream> self_;  // gRPC's reference
};

WorkerLink::~WorkerLink() {
  Close();
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return num_streams_ == 0; });
}

std::string WorkerLink::address() const {
  std::lock_guard lock(mutex_);
  return address_;
}

WorkerLink::State WorkerLink::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

Heartbeat WorkerLink::heartbeat() const {
  std::lock_guard lock(mutex_);
  return heartbeat_;
}

wire::DescribeResponse WorkerLink::description() const {
  std::lock_guard lock(mutex_);
  return description_;
}

std::shared_ptr<WorkerLink::Stub> WorkerLink::stub() const {
  std::lock_guard lock(mutex_);
  return stub_;
}

void WorkerLink::Open() {
  std::shared_ptr<PulseStream> stream;
  std::shared_ptr<Stub> old;  // Its channel's end may wait for callbacks, which take the mutex.
  {
    std::lock_guard lock(mutex_);
    if (state_ != State::kDown || address_.empty()) return;
    state_ = State::kOpening;
    old = std::exchange(stub_, wire::Worker::NewStub(OpenChannel(address_)));
    stream = stream_ = PulseStream::Open(*this, *stub_);
    ++num_streams_;
  }
  stream->Start();
}

void WorkerLink::MoveTo(const std::string& address) {
  {
    std::lock_guard lock(mutex_);
    if (address == address_) return;
    address_ = address;
  }
  Close();
}

void WorkerLink::Close() {
  std::shared_ptr<PulseStream> stream;
  {
    std::lock_guard lock(mutex_);
    state_ = State::kDown;
    stream = std::exchange(stream_, nullptr);
  }
  if (stream != nullptr) stream->Cancel();
}

void WorkerLink::OnTime(Duration passed) {
  std::lock_guard lock(mutex_);
  heartbeat_.OnTime(passed);
}

void WorkerLink::OnPulse(const PulseStream& stream, const wire::Pulse& pulse) {
  std::lock_guard lock(mutex_);
  if (&stream != stream_.get()) return;
  if (pulse.has_description()) {
    description_ = pulse.description();
    heartbeat_ = Heartbeat();
  }
  heartbeat_.OnPulse(FromWire(pulse));
  state_ = State::kAlive;
}

// The stream, which holds its channel, goes before the destructor goes on. gRPC's threads of
// callbacks end with the last channel and server that use them, and cannot be ended by one of them.
void WorkerLink::OnEnd(std::shared_ptr<PulseStream> stream) {
  {
    std::lock_guard lock(mutex_);
    if (stream == stream_) {
      stream_.reset();
      state_ = State::kDown;
    }
  }
  stream.reset();
  std::lock_guard lock(mutex_);
  --num_streams_;
  ended_.notify_all();
}

}  // namespace longhand::cluster
