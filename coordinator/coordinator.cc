#include "coordinator/coordinator.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <random>
#include <utility>

#include "common/request_id.h"
#include "common/version.h"
#include "coordinator/request_log.h"
#include "coordinator/request_spans.h"
#include "coordinator/status_response.h"
#include "coordinator/tell.h"

namespace longhand {
namespace {

constexpr std::chrono::milliseconds kLookAroundEvery(100);
constexpr int64_t kLooksAtAdapters = 5;  // every so many

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

}  // namespace

Coordinator::Coordinator(const ServeOptions& options,
                         WorkerAddresses workers,
                         const Log& log,
                         LoadedModel model,
                         api::ApiKeys keys,
                         Result<std::unique_ptr<journal::Store>> store)
    : options_(options),
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
      workers_(std::move(workers)),
      engine_config_(MakeEngineConfig(options_, model_.config)) {}

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
  if (!restorer_.holds_adapters())
    return done(Unavailable("adapters that kept requests were begun with are loaded first"));
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
  if (kept_.has_value()) {
    BeginKept();
    restorer_.HoldAdapters();
  }
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

}  // namespace longhand
