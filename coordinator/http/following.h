// Following: an exchange follows a request's stream for as long as it lives. I/O thread.
#pragma once

#include <memory>
#include <utility>

#include "coordinator/api/event_stream.h"
#include "coordinator/http/exchange.h"

namespace longhand::http {

class Following {
 public:
  Following(std::shared_ptr<api::EventStream> stream, Waker wake)
      : stream_(std::move(stream)), reader_(std::make_shared<WakingReader>(std::move(wake))) {
    stream_->Join(reader_);
  }
  ~Following() { stream_->Leave(*reader_); }
  Following(const Following&) = delete;

 private:
  class WakingReader final : public api::EventStream::Reader {
   public:
    explicit WakingReader(Waker wake) : wake_(std::move(wake)) {}
    void OnMore() override { wake_(); }

   private:
    const Waker wake_;
  };

  const std::shared_ptr<api::EventStream> stream_;  // shared with its producer
  const std::shared_ptr<WakingReader> reader_;      // and with the stream
};

}  // namespace longhand::http
