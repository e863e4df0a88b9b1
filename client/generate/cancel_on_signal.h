// CancelOnSignal: Ctrl-C ends the request on the server too, which would otherwise go on without a
// reader.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <thread>

namespace longhand::client {

// Before any thread starts, so that all leave these signals to CancelOnSignal.
void BlockInterrupts();

// While it lives, SIGINT, SIGTERM and SIGHUP cancel the request and end the program.
class CancelOnSignal {
 public:
  CancelOnSignal(std::shared_ptr<grpc::Channel> channel, const std::string& request_id);
  ~CancelOnSignal();
  CancelOnSignal(const CancelOnSignal&) = delete;
  CancelOnSignal& operator=(const CancelOnSignal&) = delete;

 private:
  std::thread thread_;
};

}  // namespace longhand::client
