// longhand-coordinator: takes requests, plans steps, sends them to workers, streams the answers.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <optional>
#include <random>

#include "common/hub_cache.h"
#include "common/logging/log.h"
#include "common/options/address_check.h"
#include "common/options/command_line.h"
#include "common/options/serve_options.h"
#include "common/prometheus/prometheus_metrics.h"
#include "common/request_id.h"
#include "common/version.h"
#include "coordinator/api/adapter_table.h"
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
#include "coordinator/dry_run.h"
#include "coordinator/health.h"
#include "coordinator/http/gateway.h"
#include "coordinator/input/grammar_constraint.h"
#include "coordinator/input/image_processor.h"
#include "coordinator/input/prompt_encoder.h"
#include "coordinator/input/text_state.h"
#include "coordinator/loaded_model.h"
#include "coordinator/replicas.h"
#include "coordinator/request_log.h"
#include "coordinator/request_spans.h"
#include "coordinator/settings.h"
#include "coordinator/signals.h"
#include "coordinator/status_response.h"
#include "coordinator/tell.h"
#include "coordinator/tracing/otlp_exporter.h"

namespace longhand {
namespace {

constexpr int kInputThreads = 2;
constexpr std::chrono::milliseconds kLookAroundEvery(100);
constexpr std::chrono::seconds kRefusedToldEvery(60);
constexpr int64_t kLooksAtAdapters = 5;  // every so many
// Requests that are being read into prompts may hold this many of the largest ones.
constexpr int64_t kRequestsInPreparation = 4;
// Series of metrics are bounded, and so are their labels.
constexpr int kMaxRanks = 256;

struct CoordinatorOptions {
  ServeOptions serve;
  std::vector<std::string> workers;
  std::string rendezvous_address = "127.0.0.1:0";
};

int Fail(const Status& status) {
  spdlog::error("{}", status.message());
  return status.code() == StatusCode::kUnavailable ? kExitFailed : kExitUsage;
}

// The disk is full, fails, or may not be written now; the rest only a person can mend.
bool MayComeRight(const Status& journal) {
  return journal.code() == StatusCode::kResourceExhausted ||
         journal.code() == StatusCode::kUnavailable;
}

// Nothing while the store is not open.
std::optional<journal::Journal::Opened> TakeKept(
    const Result<std::unique_ptr<journal::Store>>& store) {
  if (!store.ok()) return std::nullopt;
  if (*store == nullptr) return journal::Journal::Opened();
  return journal::Journal::Opened{(*store)->TakeUnfinished(), (*store)->num_lost_records()};
}

std::unique_ptr<journal::Journal> MakeJournal(const ServeOptions& options,
                                              Result<std::unique_ptr<journal::Store>> store,
                                              Metrics& metrics) {
  const journal::JournalConfig config = MakeJournalConfig(options);
  if (!store.ok()) {
    return std::make_unique<journal::Journal>(
        config, [&options] { return OpenJournal(options); }, store.status(), metrics);
  }
  if (*store == nullptr) return nullptr;
  return std::make_unique<journal::Journal>(config, std::move(store).value(), metrics);
}

uint64_t DrawSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

// The parts of the program, in the order in which they are made; the last made goes first.
class Coordinator {
 public:
  // `log` outlives this; `store` is null without a journal, and an error while it cannot be opened.
  Coordinator(const CoordinatorOptions& options,
              const Log& log,
              LoadedModel model,
              api::ApiKeys keys,
              Result<std::unique_ptr<journal::Store>> store)
      : options_(options.serve),
        log_(log),
        keys_(std::move(keys)),
        metrics_(CoordinatorMetricTable()),
        exporter_(options_.otlp_traces_endpoint.empty()
                      ? nullptr
                      : std::make_unique<tracing::OtlpExporter>(
                            options_.otlp_traces_endpoint, DrawRequestId("coordinator"), metrics_)),
        kept_(TakeKept(store)),
        journal_(MakeJournal(options_, std::move(store), metrics_)),
        model_(std::move(model)),
        workers_(options.workers),
        engine_config_(MakeEngineConfig(options_, model_.config)) {}

  // kUnavailable when an address cannot be bound.
  Status Listen(const std::string& rendezvous_address);
  // Serves until a signal or a failure that forming groups again cannot mend; returns the latter.
  Status Run();

 private:
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
  const std::vector<std::string> workers_;
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

// What is known before anything happens, and what no other part counts.
void Coordinator::DeclareMetrics() {
  if (options_.metrics_compat == "vllm") {
    metrics_.AddAliases(VllmMetricTable(),
                        {{"model_name", options_.served_model_name}, {"engine", "0"}});
  }
  metrics_.GetGauge("longhand_build_info", {{"version", kVersion}}).Set(1);
  metrics_.GetCounter("longhand_connections_refused_total");
}

// Streams that an earlier coordinator left: nobody may be told before that there are none.
void Coordinator::BeginKept() {
  if (kept_->num_lost_records > 0) {
    spdlog::error("the journal in {} was damaged: {} records are lost", options_.journal,
                  kept_->num_lost_records);
  }
  metrics_.GetCounter("longhand_tokens_lost_total")
      .Increment(static_cast<double>(kept_->num_lost_records));
  restorer_.BeginStreams(kept_->unfinished);
  kept_.reset();
  intake_.BeginKept();
  has_kept_ = true;
}

api::RequestPreparer::Limits Coordinator::PrepareLimits() {
  return {.served_model_name = options_.served_model_name,
          .max_images = options_.limit_mm_per_prompt,
          .max_model_len =
              [this] {
                const int64_t planned = replicas_.max_model_len();
                return planned > 0 ? planned : engine_config_.max_model_len;
              },
          .draw_seed = DrawSeed,
          .find_adapter = [this](const std::string& name) { return adapters_.Find(name); },
          .compile_constraint =
              [this](shim::GrammarKind kind, const std::string& text) {
                return constraints_.Compile(kind, text);
              }};
}

Status Coordinator::AddAdapters() {
  for (const std::string& given : options_.lora_modules) {
    const size_t equals = given.find('=');
    LONGHAND_RETURN_IF_ERROR(adapters_.Add(given.substr(0, equals), given.substr(equals + 1)));
  }
  return OkStatus();
}

void Coordinator::LoadAdapter(const std::string& name,
                              const std::string& directory,
                              std::function<void(const Status&)> done) {
  const Status queued =
      pool_.Submit([this, name, directory, done] { adapters_.Load(name, directory, done); });
  if (!queued.ok()) done(queued);
}

// vLLM's endpoint picker reads it: one series, of now.
void Coordinator::ShowAdapters() {
  if (options_.num_loras() == 0 || ++num_looks_ % kLooksAtAdapters != 0) return;
  replicas_.router().GetStats([this](const std::vector<engine::EngineStats>& engines) {
    const engine::EngineStats all = engine::Sum(engines);
    const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
    metrics_.SetInfo(
        "longhand_adapter_requests_info",
        {{"max_lora", std::to_string(options_.num_loras())},
         {"running_lora_adapters", fmt::format("{}", fmt::join(all.running_adapters, ","))},
         {"waiting_lora_adapters", fmt::format("{}", fmt::join(all.waiting_adapters, ","))}},
        now.count());
  });
}

void Coordinator::OnRequestEnd(const engine::RequestSummary& request) {
  LogRequest(log_, request);
  if (exporter_ != nullptr && request.trace.is_traced())
    exporter_->Export(SpansOf(request, options_.served_model_name, UnixNanoseconds()));
}

void Coordinator::OnDocumentEnd(const documents::DocumentSummary& document) {
  LogDocument(log_, document);
  if (exporter_ != nullptr && document.trace.is_traced())
    exporter_->Export({SpanOf(document, options_.served_model_name, UnixNanoseconds())});
}

void Coordinator::OnFatal(const Status& status) {
  fatal_ = status;
  failed_ = true;
  RaiseSignal();
}

void Coordinator::GetStatus(const std::function<void(const v1::GetStatusResponse&)>& answer) {
  replicas_.View(health_, [this, answer](const std::vector<GroupView>& groups) {
    using std::chrono::duration_cast;
    v1::GetStatusResponse response = MakeStatusResponse(groups, health_.Check());
    response.set_model(options_.served_model_name);
    response.set_draining(response.draining() || intake_.is_draining());
    response.set_max_loras(static_cast<int32_t>(options_.num_loras()));
    for (const api::AdapterTable::Held& adapter : adapters_.List()) {
      v1::AdapterStatus* status = response.add_adapters();
      status->set_name(adapter->name);
      status->set_directory(adapter->directory);
    }
    response.set_uptime_ms(
        duration_cast<std::chrono::milliseconds>(clock_.Now() - started_).count());
    answer(response);
  });
}

Status Coordinator::Listen(const std::string& rendezvous_address) {
  DeclareMetrics();
  LONGHAND_RETURN_IF_ERROR(AddAdapters());
  LONGHAND_ASSIGN_OR_RETURN(const std::string metrics_address,
                            metrics_.Serve(options_.metrics_address));
  LONGHAND_ASSIGN_OR_RETURN(
      rendezvous_server_,
      api::GrpcServer::Start({.address = rendezvous_address, .services = {&rendezvous_}}));
  if (kept_.has_value()) BeginKept();
  LONGHAND_ASSIGN_OR_RETURN(
      server_,
      api::GrpcServer::Start({.address = options_.grpc_address,
                              .tls_cert = options_.tls_cert,
                              .tls_key = options_.tls_key,
                              .max_receive_bytes = options_.max_request_bytes,
                              .services = {&generation_, &cluster_service_},
                              .service_names = {"longhand.v1.Generation", "longhand.v1.Cluster"},
                              .on_refused = [this] { OnConnectionRefused(); }}));
  spdlog::info("serving {} from {}; pictures: {}", options_.served_model_name, options_.model,
               model_.pixels.ToString());
  LONGHAND_ASSIGN_OR_RETURN(const std::string http_address, gateway_.Start());
  Tell({{"http", http_address}, {"grpc", server_->address()}, {"metrics", metrics_address}});
  return OkStatus();
}

Status Coordinator::Run() {
  replicas_.Start(rendezvous_server_->address());
  do LookAround();
  while (!WaitForSignal(kLookAroundEvery));
  if (!failed_) Drain();
  restorer_.Stop();
  documents_.Stop();
  replicas_.Stop();
  restorer_.Acquit();
  if (journal_) journal_->Stop();  // What waits is written and seen first, unless the disk refuses.
  adapters_.Stop();
  streams_.EndAll(Unavailable("the coordinator is stopping; attach to the stream again"));
  server_.reset();
  gateway_.Stop();
  return fatal_;
}

void Coordinator::LookAround() {
  const bool is_ready = health_.Look().ready;
  // Whoever watches is told of changes only.
  if (std::exchange(is_serving_, is_ready) != is_ready) server_->SetServing(is_ready);
  replicas_.TellNews();  // Health checks say so already.
  ShowAdapters();
  LookAtJournal();
  TellRefused();
  streams_.AbandonUnread(clock_.Now());
  documents_.LookAround(clock_.Now());
}

void Coordinator::OnConnectionRefused() {
  ++num_refused_;
  metrics_.GetCounter("longhand_connections_refused_total").Increment();
}

// Once a minute: they come in floods.
void Coordinator::TellRefused() {
  if (num_refused_ == 0 || clock_.Now() < refused_told_at_ + kRefusedToldEvery) return;
  refused_told_at_ = clock_.Now();
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  spdlog::error(
      "{} connections were refused: of {} descriptors (ulimit -n) none is left for them, or "
      "--max-http-connections={} were open",
      num_refused_.exchange(0), limit.rlim_cur, options_.max_http_connections);
}

void Coordinator::LookAtJournal() {
  const Status status = gate_.CheckAdmission();
  if (std::exchange(can_keep_, status.ok()) != status.ok()) {
    if (status.ok()) {
      spdlog::info("requests can be kept again");
    } else {
      spdlog::error("{}", status.message());
    }
  }
  if (journal_ != nullptr) kept_ = journal_->TakeOpened();
  if (kept_.has_value()) BeginKept();
  if (has_kept_ && pool_.Submit([this] { restorer_.Restore(); }).ok()) has_kept_ = false;
}

// What an earlier coordinator left was taken long ago. A document ends with its last call to the
// engine, which therefore takes calls until none is left.
void Coordinator::BeginDrain(std::function<void()> on_idle) {
  health_.BeginDrain();
  intake_.BeginDrain();
  restorer_.WhenIdle([this, on_idle = std::move(on_idle)] {
    documents_.WhenIdle([this, on_idle] { replicas_.router().Drain(on_idle); });
  });
}

// What runs may finish, and what does not goes on with the next coordinator, if there is a journal;
// a second signal ends the wait.
void Coordinator::Drain() {
  spdlog::info("draining");
  gateway_.Drain();
  BeginDrain(RaiseSignal);
  const TimePoint deadline = clock_.Now() + std::chrono::seconds(options_.shutdown_timeout);
  do LookAround();
  while (!WaitForSignal(kLookAroundEvery) && clock_.Now() < deadline);
}

int Serve(const CoordinatorOptions& options, const Log& log) {
  Result<LoadedModel> model = LoadedModel::Load(options.serve);
  if (!model.ok()) return Fail(model.status());
  const engine::EngineConfig engine_config = MakeEngineConfig(options.serve, model->config);
  if (const Status status = engine::CheckConfig(engine_config); !status.ok()) return Fail(status);
  Result<api::ApiKeys> keys = LoadKeys(options.serve);
  if (!keys.ok()) return Fail(keys.status());
  Result<std::unique_ptr<journal::Store>> store = OpenJournal(options.serve);
  if (!store.ok() && !MayComeRight(store.status())) return Fail(store.status());
  Coordinator coordinator(options, log, std::move(model).value(), std::move(keys).value(),
                          std::move(store));
  if (const Status status = coordinator.Listen(options.rendezvous_address); !status.ok())
    return Fail(status);
  const Status status = coordinator.Run();
  return status.ok() ? kExitOk : Fail(status);
}

Status CheckWorkers(const CoordinatorOptions& options) {
  const ServeOptions& serve = options.serve;
  if (serve.num_ranks() > kMaxRanks) {
    return InvalidArgument("--data-parallel-size ", serve.data_parallel_size,
                           " times --tensor-parallel-size ", serve.tensor_parallel_size, " is ",
                           serve.num_ranks(), " ranks; one coordinator has at most ", kMaxRanks);
  }
  if (static_cast<int>(options.workers.size()) == serve.num_workers()) return OkStatus();
  return InvalidArgument("--workers names ", options.workers.size(), " workers; it must be ",
                         serve.num_workers(), ": --tensor-parallel-size is ",
                         serve.tensor_parallel_size, ", --spare-workers is ", serve.spare_workers,
                         ", --data-parallel-size is ", serve.data_parallel_size);
}

int Main(const std::vector<std::string>& args) {
  CoordinatorOptions options;
  CLI::App app{"Takes requests and plans the steps of groups of workers.", "longhand-coordinator"};
  AddServeOptions(app, options.serve);
  std::string config_file;
  app.add_option("--config", config_file, "YAML file with the same names")->take_last();
  app.add_option("--workers", options.workers,
                 "host:port or unix:PATH of each rank, in rank order, then of the spares; group "
                 "after group")
      ->delimiter(',')
      ->check(CheckPeerAddress);
  app.add_option("--rendezvous-address", options.rendezvous_address,
                 "host:port at which workers on other hosts find each other")
      ->check(CheckAddress)
      ->capture_default_str()
      ->take_last();
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  BlockSignals();
  const Log log("coordinator", LogFormatOf(options.serve.log_format));
  if (options.serve.model.empty())
    return Fail(InvalidArgument("--model is required: a checkpoint directory"));
  Result<LocatedModel> located = LocateModel(options.serve.model, options.serve.revision);
  if (!located.ok()) return Fail(located.status());
  options.serve.model = located->directory.string();
  if (options.serve.served_model_name.empty()) options.serve.served_model_name = located->name;
  if (options.serve.dry_run) {
    const Status status = DryRun(options.serve);
    return status.ok() ? kExitOk : Fail(status);
  }
  spdlog::info("configuration: {}", fmt::join(EffectiveArguments(app), " "));
  if (const Status status = CheckWorkers(options); !status.ok()) return Fail(status);
  return Serve(options, log);
}

}  // namespace
}  // namespace longhand

int main(int argc, char** argv) { return longhand::Main({argv + 1, argv + argc}); }
