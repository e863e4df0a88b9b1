#include "tests/e2e/fake_generation.h"

#include <utility>

#include "common/check.h"

namespace longhand::e2e {

FakeGeneration::FakeGeneration(std::vector<std::string> answers, const std::string& address)
    : answers_(std::move(answers)) {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  LONGHAND_CHECK(server_ != nullptr && port != 0);
  address_ = "127.0.0.1:" + std::to_string(port);
}

FakeGeneration::~FakeGeneration() { server_->Shutdown(); }

std::vector<v1::GenerateRequest> FakeGeneration::requests() {
  std::lock_guard lock(mutex_);
  return requests_;
}

grpc::Status FakeGeneration::Generate(grpc::ServerContext*,
                                      const v1::GenerateRequest* request,
                                      grpc::ServerWriter<v1::GenerateEvent>* writer) {
  size_t idx;
  {
    std::lock_guard lock(mutex_);
    idx = requests_.size();
    requests_.push_back(*request);
  }
  if (idx >= answers_.size()) return {grpc::StatusCode::UNAVAILABLE, "no more answers"};
  const std::string& answer = answers_[idx];
  for (size_t begin = 0; begin < answer.size();) {
    size_t end = begin + 1;
    while (end < answer.size() && (answer[end] & 0xC0) == 0x80) ++end;  // whole characters
    v1::GenerateEvent event;
    event.set_text(answer.substr(begin, end - begin));
    event.add_token_ids(1);
    writer->Write(event);
    begin = end;
  }
  v1::GenerateEvent last;
  last.set_finish_reason(v1::FINISH_REASON_STOP);
  last.set_finish_detail("eos");
  writer->Write(last);
  return grpc::Status::OK;
}

}  // namespace longhand::e2e
