#include "client/generate/resumable_stream.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "client/connection.h"
#include "proto/grpc_status.h"

namespace longhand::client {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause(50);
constexpr milliseconds kMaxPause(1000);
constexpr std::chrono::seconds kConnectTimeout(5);
// A coordinator that starts again refuses connections for less than this.
constexpr std::chrono::seconds kFirstPatience(2);
// A call that lived so long was a stream, if a silent one.
constexpr std::chrono::seconds kLasting(5);

// Where connections are refused, they are tried again for `patience`.
Status Reach(grpc::Channel& channel, std::chrono::seconds patience) {
  const auto now = std::chrono::system_clock::now();
  grpc_connectivity_state state = channel.GetState(/*try_to_connect=*/true);
  while (state != GRPC_CHANNEL_READY) {
    const bool is_refused = state == GRPC_CHANNEL_TRANSIENT_FAILURE;
    if (!channel.WaitForStateChange(state, now + (is_refused ? patience : kConnectTimeout)))
      return Unavailable("the server cannot be reached").About(kAboutEndpoint);
    state = channel.GetState(/*try_to_connect=*/true);
  }
  return OkStatus();
}

}  // namespace

ResumableStream ResumableStream::Generate(std::shared_ptr<grpc::Channel> channel,
                                          v1::GenerateRequest request,
                                          std::chrono::seconds retry_for) {
  const std::string id = request.request_id();
  return ResumableStream(
      std::move(channel), id,
      [request = std::move(request)](v1::Generation::Stub& stub, grpc::ClientContext* context) {
        return stub.Generate(context, request);
      },
      /*next_seq=*/1, retry_for);
}

ResumableStream ResumableStream::WriteDocument(std::shared_ptr<grpc::Channel> channel,
                                               v1::WriteDocumentRequest request,
                                               std::chrono::seconds retry_for) {
  const std::string id = request.request_id();
  return ResumableStream(
      std::move(channel), id,
      [request = std::move(request)](v1::Generation::Stub& stub, grpc::ClientContext* context) {
        return stub.WriteDocument(context, request);
      },
      /*next_seq=*/1, retry_for);
}

ResumableStream ResumableStream::Attach(std::shared_ptr<grpc::Channel> channel,
                                        const std::string& request_id,
                                        int64_t from,
                                        std::chrono::seconds retry_for) {
  return ResumableStream(std::move(channel), request_id, /*begin=*/nullptr, from, retry_for);
}

ResumableStream::ResumableStream(std::shared_ptr<grpc::Channel> channel,
                                 std::string request_id,
                                 Begin begin,
                                 int64_t next_seq,
                                 std::chrono::seconds retry_for)
    : channel_(std::move(channel)),
      stub_(v1::Generation::NewStub(channel_)),
      request_id_(std::move(request_id)),
      begin_(std::move(begin)),
      next_seq_(next_seq),
      retry_for_(retry_for) {}

bool ResumableStream::Read(v1::GenerateEvent* event) {
  if (context_ == nullptr) {
    status_ = expects_server_ ? OkStatus() : Reach(*channel_, std::min(kFirstPatience, retry_for_));
    if (!status_.ok()) return false;
    Open();
  }
  while (!reader_->Read(event)) {
    status_ = FromGrpc(reader_->Finish());
    if (!MayRetry()) return false;
    Pause();
    Open();
  }
  next_seq_ = event->seq() + 1;
  begin_ = nullptr;
  pause_ = milliseconds(0);
  return true;
}

void ResumableStream::Open() {
  reader_.reset();
  context_ = std::make_unique<grpc::ClientContext>();
  opened_at_ = Clock::now();
  if (begin_) {
    reader_ = begin_(*stub_, context_.get());
    return;
  }
  v1::AttachRequest attach;
  attach.set_request_id(request_id_);
  attach.set_from(next_seq_);
  reader_ = stub_->Attach(context_.get(), attach);
}

// Until the server is there again, or for a while if it is there and said UNAVAILABLE. gRPC makes
// no progress with a connection unless somebody waits for it.
void ResumableStream::Pause() {
  if (channel_->GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_READY)
    return std::this_thread::sleep_for(pause_);
  channel_->WaitForConnected(std::chrono::system_clock::now() + kMaxPause);
}

bool ResumableStream::MayRetry() {
  if (gives_up_ != nullptr && *gives_up_) return false;
  // Nobody cancels here: CANCELLED in gRPC's own word is a call that a stopping server reset.
  const bool was_reset =
      status_.code() == StatusCode::kCancelled && status_.message() == "CANCELLED";
  if (status_.code() != StatusCode::kUnavailable && !was_reset) return false;
  const Clock::time_point now = Clock::now();
  const bool lasted = now - opened_at_ > kLasting;
  if (lasted || pause_ == milliseconds(0)) trouble_at_ = now;
  pause_ = lasted ? kFirstPause : std::min(kMaxPause, std::max(kFirstPause, pause_ * 2));
  return now + pause_ <= trouble_at_ + retry_for_;
}

}  // namespace longhand::client
