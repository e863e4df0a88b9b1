// DocumentReceiver: the events of a document that the server writes, put together.
#pragma once

#include "client/agent_write/document.h"
#include "client/agent_write/document_writer.h"
#include "longhand/v1/generation.pb.h"

namespace longhand::client {

class DocumentReceiver {
 public:
  // `observer` is told of everything but the outline's pieces: the server shows it whole.
  explicit DocumentReceiver(WriteObserver& observer) : observer_(observer) {}

  // In their order, from the first.
  void Add(const v1::GenerateEvent& event);
  // So far.
  const Document& document() const { return document_; }

 private:
  void OnPlan(const v1::DocumentPlan& plan);

  WriteObserver& observer_;
  Document document_;
  std::vector<OutlineSection> outline_;
  bool is_in_section_ = false;
  WrittenSection section_;
};

}  // namespace longhand::client
