#include "coordinator/api/request_record.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <openssl/sha.h>

namespace longhand::api {

std::string DigestOf(const google::protobuf::Message& request, journal::v1::AnswerForm form) {
  form.clear_created();
  form.clear_model();  // The request has it.
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&out);
    form.SerializeToCodedStream(&out);
  }
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

v1::GenerateRequest Resolve(const v1::GenerateRequest& wire,
                            const engine::Request& prepared,
                            const std::string& model) {
  v1::GenerateRequest resolved = wire;
  resolved.set_model(model);
  resolved.set_request_id(prepared.request_id);
  SetSampling(prepared.sampling, resolved.mutable_sampling());
  resolved.mutable_sampling()->set_min_tokens(prepared.min_tokens);
  resolved.mutable_sampling()->set_max_tokens(prepared.max_tokens);
  resolved.mutable_sampling()->set_n(prepared.num_choices);
  return resolved;
}

journal::v1::RequestRecord MakeRecord(const EventStream::Identity& identity,
                                      const std::string& checkpoint_digest,
                                      const engine::Adapter* adapter,
                                      const Trace& trace) {
  journal::v1::RequestRecord record;
  record.set_sent_digest(identity.sent_digest);
  *record.mutable_form() = identity.form;
  record.set_checkpoint_digest(checkpoint_digest);
  record.set_owner(identity.owner);
  if (adapter != nullptr) {
    record.mutable_adapter()->set_directory(adapter->directory);
    record.mutable_adapter()->set_digest(adapter->digest);
  }
  if (!trace.is_traced()) return record;
  journal::v1::Trace* wire = record.mutable_trace();
  wire->set_trace_id(trace.trace_id);
  wire->set_span_id(trace.span_id);
  wire->set_parent_span_id(trace.parent_span_id);
  wire->set_operation(trace.operation);
  wire->set_began_ns(trace.began_ns);
  return record;
}

Trace FromWire(const journal::v1::Trace& trace) {
  return {.trace_id = trace.trace_id(),
          .span_id = trace.span_id(),
          .parent_span_id = trace.parent_span_id(),
          .operation = trace.operation(),
          .began_ns = trace.began_ns()};
}

void SetSampling(const SamplingParams& params, v1::Sampling* sampling) {
  sampling->set_temperature(params.temperature);
  sampling->set_top_p(params.top_p);
  sampling->set_top_k(params.top_k);
  sampling->set_min_p(params.min_p);
  sampling->set_seed(params.seed);
  sampling->set_repetition_penalty(params.repetition_penalty);
  sampling->set_presence_penalty(params.presence_penalty);
  sampling->set_frequency_penalty(params.frequency_penalty);
}

}  // namespace longhand::api
