// Coordinator: all parts of the program, and how long they live.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/logging/log.h"
#include "common/options/serve_options.h"
#include "common/prometheus/prometheus_metrics.h"
#include "common/status.h"
#include "coordinator/api/adapter_table.h"
#include "coordinator/api/api_keys.h"
#include "coordinator/api/cluster_service.h"
#include "coordinator/api/generation_service.h"
#include "coordinator/api/grpc_server.h"
#include "coordinator/api/input_pool.h"
#include "coordinator/api/request_intake.h"
#include "coordinator/api/request_preparer.h"
#include "coordinator/api/request_restorer.h"
#include "coordinator/api/stream_sink.h"
#include "coordinator/api/stream_table.h"
#include "coordinator/cluster/rendezvous_service.h"
#include "coordinator/documents/documents.h"
#include "coordinator/health.h"
#include "coordinator/http/gateway.h"
#include "coordinator/input/grammar_constraint.h"
#include "coordinator/input/image_processor.h"
#include "coordinator/input/prompt_encoder.h"
#include "coordinator/input/text_state.h"
#include "coordinator/journal/journal.h"
#include "coordinator/loaded_model.h"
#include "coordinator/replicas.h"
#include "coordinator/settings.h"
#include "coordinator/signals.h"
#include "coordinator/tracing/otlp_exporter.h"

namespace longhand {

// In the order in which they are made; the last made goes first.
class Coordinator {
 public:
  // `log` outlives this; `store` is null without a journal, and an error while it cannot be opened.
  Coordinator(const ServeOptions& options,
              WorkerAddresses workers,
              const Log& log,
              LoadedModel model,
              api::ApiKeys keys,
              Result<std::unique_ptr<journal::Store>> store);

  // kUnavailable when an address cannot be bound.
  Status Listen(const std::string& rendezvous_address);
  // Serves until a signal or a failure that forming groups again cannot mend; returns the latter.
  Status Run();

 private:
  static constexpr int kInputThreads = 2;
  // Requests that are being read into prompts may hold this many of the largest ones.
  static constexpr int64_t kRequestsInPreparation = 4;
  static constexpr std::chrono::seconds kRefusedToldEvery{60};

  api::RequestPreparer::Limits PrepareLimits();
  void DeclareMetrics();
  void BeginKept();
  void OnRequestEnd(const engine::RequestSummary& request);
  void OnDocumentEnd(const documents::DocumentSummary& document);
  void OnFatal(const Status& status);
  Status AddAdapters();
  void LoadAdapter(const std::string& name,
                   const std::string& directory,
                   std::function<void(const Status&)> done);
  void ShowAdapters();
  void LookAround();
  void LookAtJournal();
  void OnConnectionRefused();
  void TellRefused();
  void GetStatus(const std::function<void(const v1::GetStatusResponse&)>& answer);
  // `on_idle` comes when nothing runs any more.
  void BeginDrain(std::function<void()> on_idle);
  void Drain();

  const ServeOptions options_;
  const Log& log_;
  const api::ApiKeys keys_;
  const SteadyClock clock_;
  const TimePoint started_ = clock_.Now();
  PrometheusMetrics metrics_;
  const std::unique_ptr<tracing::OtlpExporter> exporter_;  // null: nobody wants traces

  // Journal: what clients see is on disk.
  api::StreamTable streams_;
  std::optional<journal::Journal::Opened> kept_;  // until its streams begin
  std::unique_ptr<journal::Journal> journal_;     // null: nothing is kept

  // Input: a request becomes a prompt, tokens become text.
  const LoadedModel model_;
  const WorkerAddresses workers_;
  const engine::EngineConfig engine_config_;
  const input::PromptEncoder encoder_{model_.tokenizer,
                                      model_.chat_template,
                                      {.vocab_size = static_cast<int32_t>(model_.config.vocab_size),
                                       .video_token_id = model_.config.video_token_id,
                                       .max_model_len = engine_config_.max_model_len}};
  const input::ImageProcessor images_{model_.config.vision, model_.pixels, {}};
  const input::TextStateOfAnswerFactory text_{model_.tokenizer};
  input::ConstraintCompiler constraints_{model_.tokenizer, model_.config.vocab_size};

  // Groups: ranks that execute plans, and for each an engine, whose thread plans and delivers.
  cluster::RendezvousService rendezvous_;
  std::unique_ptr<api::GrpcServer> rendezvous_server_;
  Status fatal_;  // written by a membership thread before failed_
  std::atomic<bool> failed_ = false;
  const api::JournalGate gate_{journal_.get()};
  Replicas replicas_{{.options = options_,
                      .workers = workers_,
                      .model = model_.config,
                      .max_pixels = LargestPicture(model_.pixels, model_.config.vision),
                      .engine = engine_config_,
                      .text = text_,
                      .gate = gate_,
                      .clock = clock_,
                      .metrics = metrics_,
                      .on_request_end = [this](const auto& request) { OnRequestEnd(request); },
                      .rendezvous = rendezvous_,
                      .on_news = EndWait,
                      .on_fatal = [this](const Status& status) { OnFatal(status); }}};
  Health health_{
      {.groups = replicas_.UnderWatch(), .gate = gate_, .clock = clock_, .metrics = metrics_}};

  // Adapters: what requests may name beside the model.
  api::AdapterTable adapters_{
      {.model = model_.config,
       .served_model_name = options_.served_model_name,
       .max_loras = options_.num_loras(),
       .max_lora_rank = options_.max_lora_rank,
       .metrics = metrics_,
       .place = [this](const auto& adapter,
                       auto done) { replicas_.LoadAdapter(adapter, std::move(done)); },
       .vacate = [this](int32_t slot) { replicas_.ForgetAdapter(slot); }}};

  // Edges.
  const api::RequestPreparer preparer_{model_.config, encoder_, images_, PrepareLimits()};
  api::RequestRestorer restorer_{{.preparer = preparer_,
                                  .router = replicas_.router(),
                                  .streams = streams_,
                                  .documents = documents_,
                                  .journal = journal_.get(),
                                  .adapters = adapters_,
                                  .is_ready = [this] { return health_.CanMakeTokens(); },
                                  .checkpoint_digest = model_.digest,
                                  .clock = clock_,
                                  .metrics = metrics_}};
  api::RequestIntake intake_{
      {.preparer = preparer_,
       .tokenizer = model_.tokenizer,
       .router = replicas_.router(),
       .streams = streams_,
       .journal = journal_.get(),
       .journal_directory = JournalDirectory(options_),
       .checkpoint_digest = model_.digest,
       .max_bytes_in_preparation = kRequestsInPreparation * options_.max_request_bytes,
       .traces = exporter_ != nullptr,
       .metrics = metrics_,
       .on_refusal = [this](const auto& request) { OnRequestEnd(request); }}};
  documents::Documents documents_{
      {.intake = intake_,
       .pool = pool_,
       .out = {streams_, journal_.get()},
       .checkpoint_digest = model_.digest,
       .max_documents = options_.max_documents,
       .max_bytes = kRequestsInPreparation * options_.max_request_bytes,
       .clock = clock_,
       .metrics = metrics_,
       .on_end = [this](const auto& document) { OnDocumentEnd(document); }}};
  // As many as may run and wait together: a burst is bounded by the engines' queue.
  api::InputPool pool_{kInputThreads,
                       static_cast<size_t>(options_.max_waiting_requests +
                                           options_.data_parallel_size * options_.num_seqs())};
  api::GenerationService generation_{intake_, documents_, pool_, keys_};
  api::ClusterService cluster_service_{
      {.get_status = [this](auto answer) { GetStatus(answer); },
       .drain = [this](std::function<void()> on_idle) { BeginDrain(std::move(on_idle)); },
       .load_adapter = [this](const std::string& name,
                              const std::string& directory,
                              auto done) { LoadAdapter(name, directory, std::move(done)); },
       .unload_adapter = [this](const std::string& name,
                                auto done) { adapters_.Unload(name, std::move(done)); }},
      keys_};
  std::unique_ptr<api::GrpcServer> server_;
  std::atomic<int64_t> num_refused_ = 0;                      // connections, since the log was told
  TimePoint refused_told_at_ = started_ - kRefusedToldEvery;  // main thread
  bool is_serving_ = false;                                   // what health checks say; main thread
  bool can_keep_ = true;   // requests, as the log knows; main thread
  bool has_kept_ = false;  // requests that go on; not given to the input pool yet
  int64_t num_looks_ = 0;  // main thread
  http::Gateway gateway_{
      MakeGatewayConfig(options_),
      {.intake = intake_,
       .documents = documents_,
       .pool = pool_,
       .adapters = adapters_,
       .readiness = health_,
       .keys = keys_,
       .metrics = metrics_,
       .get_status = [this](auto answer) { GetStatus(answer); },
       .change_adapters =
           {.load = [this](const std::string& name,
                           const std::string& directory,
                           auto done) { LoadAdapter(name, directory, std::move(done)); },
            .unload = [this](const std::string& name,
                             auto done) { adapters_.Unload(name, std::move(done)); }},
       .on_refused = [this] { OnConnectionRefused(); }}};
};

}  // namespace longhand
