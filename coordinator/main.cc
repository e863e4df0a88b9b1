// longhand-coordinator: takes requests, plans steps, sends them to workers, streams the answers.
#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <thread>

#include "common/config/model_config.h"
#include "common/hub_cache.h"
#include "common/logging/log.h"
#include "common/options/address_check.h"
#include "common/options/command_line.h"
#include "common/options/serve_options.h"
#include "common/prometheus/prometheus_metrics.h"
#include "common/version.h"
#include "coordinator/api/api_keys.h"
#include "coordinator/api/checkpoint_digest.h"
#include "coordinator/api/cluster_service.h"
#include "coordinator/api/generation_service.h"
#include "coordinator/api/grpc_server.h"
#include "coordinator/api/input_pool.h"
#include "coordinator/api/request_intake.h"
#include "coordinator/api/request_preparer.h"
#include "coordinator/api/request_restorer.h"
#include "coordinator/api/stream_sink.h"
#include "coordinator/api/stream_table.h"
#include "coordinator/cluster/capacity.h"
#include "coordinator/cluster/rendezvous_service.h"
#include "coordinator/cluster/worker_group.h"
#include "coordinator/engine/engine.h"
#include "coordinator/health.h"
#include "coordinator/http/gateway.h"
#include "coordinator/input/image_processor.h"
#include "coordinator/input/pixel_policy.h"
#include "coordinator/input/prompt_encoder.h"
#include "coordinator/input/text_state.h"
#include "coordinator/journal/journal.h"
#include "coordinator/journal/store.h"
#include "coordinator/request_log.h"
#include "coordinator/status_response.h"
#include "shim/chat_template.h"
#include "shim/tokenizer.h"

namespace longhand {
namespace {

constexpr int kInputThreads = 2;
constexpr std::chrono::milliseconds kLookAroundEvery(100);
// Requests that are being read into prompts may hold this many of the largest ones.
constexpr int64_t kRequestsInPreparation = 4;

struct CoordinatorOptions {
  ServeOptions serve;
  std::vector<std::string> workers;
  std::string rendezvous_address = "127.0.0.1:0";
};

// What is read from the checkpoint's directory before anything listens.
struct Model {
  ModelConfig config;
  input::PixelPolicy pixels;
  shim::Tokenizer tokenizer;
  shim::ChatTemplate chat_template;
  std::string digest;  // of the checkpoint

  static Result<Model> Load(const ServeOptions& options);
};

int64_t LargestPicture(const input::PixelPolicy& pixels, const VisionConfig& vision) {
  return pixels.LargestPicture(static_cast<int32_t>(vision.patch_size * vision.spatial_merge_size));
}

Result<input::PixelPolicy> PixelsOf(const ServeOptions& options, const ModelConfig& config) {
  return input::MakePixelPolicy(options.pixel_policy, config.image_policy, options.min_pixels,
                                options.max_pixels);
}

Result<Model> Model::Load(const ServeOptions& options) {
  LONGHAND_ASSIGN_OR_RETURN(ModelConfig config, ModelConfig::Load(options.model));
  LONGHAND_ASSIGN_OR_RETURN(input::PixelPolicy pixels, PixelsOf(options, config));
  LONGHAND_ASSIGN_OR_RETURN(shim::Tokenizer tokenizer, shim::Tokenizer::Load(options.model));
  LONGHAND_ASSIGN_OR_RETURN(shim::ChatTemplate chat_template,
                            shim::ChatTemplate::Load(options.model));
  LONGHAND_ASSIGN_OR_RETURN(std::string digest, api::CheckpointDigest(options.model));
  return Model{std::move(config), pixels, std::move(tokenizer), std::move(chat_template),
               std::move(digest)};
}

// The supervisor reads these lines.
void Tell(const boost::json::object& report) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  std::printf("%s\n", boost::json::serialize(report).c_str());
  std::fflush(stdout);
}

int Fail(const Status& status) {
  spdlog::error("{}", status.message());
  return status.code() == StatusCode::kUnavailable ? kExitFailed : kExitUsage;
}

int DryRun(const ServeOptions& options) {
  const Result<ModelConfig> model = ModelConfig::Load(options.model);
  if (!model.ok()) return Fail(model.status());
  const Result<input::PixelPolicy> pixels = PixelsOf(options, *model);
  if (!pixels.ok()) return Fail(pixels.status());
  Result<cluster::Capacity> capacity = cluster::PlanShape(options, *model);
  if (!capacity.ok()) return Fail(capacity.status());
  // A plan for other machines is printed all the same; then no tokens fit here.
  const int64_t memory_bytes =
      cluster::AvailableMemoryBytes() / (options.tensor_parallel_size + options.spare_workers);
  const Result<cluster::Capacity> fitting = cluster::PlanCapacity(
      options, *model, LargestPicture(*pixels, model->vision), memory_bytes, memory_bytes);
  if (fitting.ok()) capacity = fitting;
  std::fputs(cluster::CapacityTable(*capacity, *model).c_str(), options.json ? stderr : stdout);
  if (!fitting.ok())
    std::fprintf(stderr, "On this machine: %s\n", fitting.status().message().c_str());
  if (options.json) std::printf("%s\n", cluster::CapacityJson(*capacity).c_str());
  return kExitOk;
}

engine::EngineConfig MakeEngineConfig(const ServeOptions& options, const ModelConfig& model) {
  const int64_t of_tenant = options.max_waiting_requests_per_tenant;
  std::map<std::string, int64_t> tenant_weights;
  for (const std::string& given : options.tenant_weights) {
    const size_t equals = given.rfind('=');
    tenant_weights[given.substr(0, equals)] = std::stoll(given.substr(equals + 1));
  }
  return {.max_num_batched_tokens = options.max_num_batched_tokens,
          .max_num_prefill_tokens = options.max_num_prefill_tokens,
          .max_num_seqs = std::min(options.max_num_seqs, options.max_num_batched_tokens),
          .max_model_len =
              options.max_model_len > 0 ? options.max_model_len : model.max_position_embeddings,
          .max_waiting_seqs = options.max_waiting_requests,
          .max_waiting_seqs_per_tenant = of_tenant > 0 ? of_tenant : options.max_waiting_requests,
          .max_queue_time = options.max_queue_time > 0
                                ? Duration(std::chrono::seconds(options.max_queue_time))
                                : Duration::max(),
          .tenant_weights = std::move(tenant_weights),
          .enable_prefix_caching = options.enable_prefix_caching,
          .pipeline_depth = options.pipeline_depth,
          .eos_token_ids = model.generation.eos_token_ids};
}

uint64_t DrawSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

// Blocks until SIGTERM or SIGINT, or for as long as `patience`. Whether a signal came.
bool WaitForSignal(std::chrono::milliseconds patience) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  const timespec timeout{.tv_sec = patience.count() / 1000,
                         .tv_nsec = patience.count() % 1000 * 1'000'000};
  return sigtimedwait(&signals, nullptr, &timeout) > 0;
}

std::string JournalDirectory(const ServeOptions& options) {
  const bool has_one = options.journal != "none" && options.journal != "auto";
  return has_one ? options.journal : "";
}

journal::JournalConfig MakeJournalConfig(const ServeOptions& options) {
  return {.retention = {.max_age = std::chrono::seconds(options.journal_max_age),
                        .max_bytes = options.journal_max_bytes}};
}

Result<api::ApiKeys> LoadKeys(const ServeOptions& options) {
  return options.api_key_file.empty() ? api::ApiKeys() : api::ApiKeys::Load(options.api_key_file);
}

http::GatewayConfig MakeGatewayConfig(const ServeOptions& options) {
  return {.address = options.http_address,
          .tls_cert = options.tls_cert,
          .tls_key = options.tls_key,
          .limits = {.max_body_bytes = options.max_request_bytes,
                     .max_connections = options.max_http_connections},
          .allowed_origins = options.allowed_origins,
          .allow_image_urls = options.allow_image_urls};
}

// Null for none. A full disk is waited for; kCancelled when a signal came first.
Result<std::unique_ptr<journal::Store>> OpenJournal(const ServeOptions& options) {
  const std::string directory = JournalDirectory(options);
  if (directory.empty()) return std::unique_ptr<journal::Store>();
  const journal::Sync sync =
      options.journal_sync == "disk" ? journal::Sync::kDisk : journal::Sync::kProcess;
  while (true) {
    Result<std::unique_ptr<journal::Store>> store = journal::Store::Open(directory, sync);
    if (store.ok() || store.status().code() != StatusCode::kResourceExhausted) return store;
    spdlog::error("the journal cannot be opened yet: {}", store.status().message());
    if (WaitForSignal(std::chrono::seconds(1))) return Cancelled("stopping");
  }
}

// Before any thread starts, so that all inherit it: signals are taken by WaitForSignal alone.
void BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGPIPE}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

// The parts of the program, in the order in which they are made; the last made goes first.
class Coordinator {
 public:
  // `log` outlives this; `store` is null without a journal.
  Coordinator(const CoordinatorOptions& options,
              const Log& log,
              Model model,
              api::ApiKeys keys,
              std::unique_ptr<journal::Store> store)
      : options_(options.serve),
        log_(log),
        keys_(std::move(keys)),
        metrics_(CoordinatorMetricTable()),
        num_lost_tokens_(store ? store->num_lost_records() : 0),
        unfinished_(store ? store->TakeUnfinished() : std::vector<journal::StoredRequest>()),
        journal_(store ? std::make_unique<journal::Journal>(
                             MakeJournalConfig(options_), std::move(store), metrics_)
                       : nullptr),
        model_(std::move(model)),
        engine_config_(MakeEngineConfig(options_, model_.config)),
        group_(MakeGroupConfig(options), clock_, MakeObserver()) {}

  // kUnavailable when an address cannot be bound.
  Status Listen(const std::string& rendezvous_address);
  // Serves until a signal or a failure that forming the group again cannot mend; returns the
  // latter.
  Status Run();

 private:
  cluster::WorkerGroupConfig MakeGroupConfig(const CoordinatorOptions& options) const;
  cluster::GroupObserver MakeObserver();
  api::RequestPreparer::Limits PrepareLimits();
  void DeclareMetrics();
  Counter& Losses(const char* cause);
  void CountLoss(cluster::LossCause cause);
  void OnGroupChange(const cluster::GroupStatus& status);
  void ShowCache(const cluster::Capacity& capacity);
  void LookAround();
  void GetStatus(const std::function<void(const v1::GetStatusResponse&)>& answer);
  void Drain();

  const ServeOptions options_;
  const Log& log_;
  const api::ApiKeys keys_;
  const SteadyClock clock_;
  const TimePoint started_ = clock_.Now();
  PrometheusMetrics metrics_;
  const int64_t num_lost_tokens_;  // of the journal that was found
  Gauge* cache_gauge_ = nullptr;   // of the latest group; membership thread

  // Journal: what clients see is on disk.
  api::StreamTable streams_;
  std::vector<journal::StoredRequest> unfinished_;
  std::unique_ptr<journal::Journal> journal_;  // null: nothing is kept

  // Input: a request becomes a prompt, tokens become text.
  const Model model_;
  const engine::EngineConfig engine_config_;
  const input::PromptEncoder encoder_{model_.tokenizer,
                                      model_.chat_template,
                                      {.vocab_size = static_cast<int32_t>(model_.config.vocab_size),
                                       .video_token_id = model_.config.video_token_id,
                                       .max_model_len = engine_config_.max_model_len}};
  const input::ImageProcessor images_{model_.config.vision, model_.pixels, {}};
  const input::TextStateOfAnswerFactory text_{model_.tokenizer};

  // Cluster: ranks that execute plans.
  cluster::RendezvousService rendezvous_;
  std::unique_ptr<api::GrpcServer> rendezvous_server_;
  std::atomic<bool> ready_ = false;
  Status fatal_;  // written by the membership thread before failed_
  std::atomic<bool> failed_ = false;
  cluster::WorkerGroup group_;

  // Engine: one thread plans and delivers.
  const api::JournalGate gate_{journal_.get()};
  engine::Engine engine_{
      engine_config_,
      {.executor = group_,
       .text = text_,
       .clock = clock_,
       .metrics = metrics_,
       .gate = gate_,
       .on_request_end = [this](const auto& request) { LogRequest(log_, request); }}};

  Health health_{{.group = [this] { return group_.status(); },
                  .ask_engine = [this](auto done) { return engine_.GetStats(done).ok(); },
                  .gate = gate_,
                  .clock = clock_,
                  .metrics = metrics_,
                  .num_ranks = options_.tensor_parallel_size}};

  // Edges.
  const api::RequestPreparer preparer_{model_.config, encoder_, images_, PrepareLimits()};
  api::RequestRestorer restorer_{{.preparer = preparer_,
                                  .engine = engine_,
                                  .streams = streams_,
                                  .journal = journal_.get(),
                                  .checkpoint_digest = model_.digest,
                                  .clock = clock_,
                                  .metrics = metrics_}};
  api::RequestIntake intake_{
      {.preparer = preparer_,
       .tokenizer = model_.tokenizer,
       .engine = engine_,
       .streams = streams_,
       .journal = journal_.get(),
       .journal_directory = JournalDirectory(options_),
       .checkpoint_digest = model_.digest,
       .max_bytes_in_preparation = kRequestsInPreparation * options_.max_request_bytes,
       .metrics = metrics_,
       .on_refusal = [this](const auto& request) { LogRequest(log_, request); }}};
  api::InputPool pool_{kInputThreads, static_cast<size_t>(options_.max_waiting_requests)};
  api::GenerationService generation_{intake_, pool_, keys_};
  api::ClusterService cluster_service_{{.get_status = [this](auto answer) { GetStatus(answer); },
                                        .drain =
                                            [this](std::function<void()> on_idle) {
                                              if (!engine_.Drain(on_idle).ok()) on_idle();
                                            }},
                                       keys_};
  std::unique_ptr<api::GrpcServer> server_;
  bool is_serving_ = false;  // what health checks say; main thread
  http::Gateway gateway_{MakeGatewayConfig(options_),
                         {.intake = intake_,
                          .pool = pool_,
                          .readiness = health_,
                          .keys = keys_,
                          .metrics = metrics_,
                          .get_status = [this](auto answer) { GetStatus(answer); }}};
};

cluster::WorkerGroupConfig Coordinator::MakeGroupConfig(const CoordinatorOptions& options) const {
  return {.addresses = options.workers,
          .options = options_,
          .model = model_.config,
          .max_pixels = LargestPicture(model_.pixels, model_.config.vision),
          .group_name =
              "lh-" + std::to_string(getpid()) + "-" + std::to_string(DrawSeed() & 0xffffffff)};
}

cluster::GroupObserver Coordinator::MakeObserver() {
  return {.on_forming = [this] { rendezvous_.Clear(); },
          .on_change = [this](const cluster::GroupStatus& status) { OnGroupChange(status); },
          .on_fatal =
              [this](const Status& status) {
                fatal_ = status;
                failed_ = true;
                kill(getpid(), SIGTERM);
              },
          .on_silent = [](int32_t worker) { Tell({{"silent_worker", worker}}); },
          .on_loss = [this](cluster::LossCause cause) { CountLoss(cause); }};
}

// What is known before anything happens, and what no other part counts.
void Coordinator::DeclareMetrics() {
  if (options_.metrics_compat == "vllm") {
    metrics_.AddAliases(VllmMetricTable(),
                        {{"model_name", options_.served_model_name}, {"engine", "0"}});
  }
  metrics_.GetGauge("longhand_build_info", {{"version", kVersion}}).Set(1);
  metrics_.GetCounter("longhand_tokens_lost_total")
      .Increment(static_cast<double>(num_lost_tokens_));
  for (const char* cause : cluster::kLossCauseNames) Losses(cause);
}

Counter& Coordinator::Losses(const char* cause) {
  return metrics_.GetCounter("longhand_failovers_total", {{"cause", cause}});
}

void Coordinator::CountLoss(cluster::LossCause cause) {
  Losses(cluster::kLossCauseNames[static_cast<size_t>(cause)]).Increment();
}

api::RequestPreparer::Limits Coordinator::PrepareLimits() {
  return {.served_model_name = options_.served_model_name,
          .max_images = options_.limit_mm_per_prompt,
          .max_model_len =
              [this] {
                const int64_t planned = group_.status().capacity.max_model_len;
                return planned > 0 ? planned : engine_config_.max_model_len;
              },
          .draw_seed = DrawSeed};
}

void Coordinator::OnGroupChange(const cluster::GroupStatus& status) {
  const bool now = status.state == cluster::GroupState::kReady;
  spdlog::info("worker group: epoch {}, {}", status.epoch, now ? "ready" : status.detail);
  if (now) spdlog::info("\n{}", cluster::CapacityTable(status.capacity, model_.config));
  if (now) ShowCache(status.capacity);
  const boost::json::array workers(status.workers.begin(), status.workers.end());
  if (ready_.exchange(now) != now) Tell({{"ready", now}, {"workers", workers}});
}

// A group of another size has another cache.
void Coordinator::ShowCache(const cluster::Capacity& capacity) {
  if (cache_gauge_ != nullptr) cache_gauge_->Set(0);
  cache_gauge_ = &metrics_.GetGauge("longhand_kv_cache_config_info",
                                    {{"block_size", std::to_string(capacity.block_size)},
                                     {"num_blocks", std::to_string(capacity.num_blocks)},
                                     {"dtype", std::string(DTypeName(capacity.kv_dtype))}});
  cache_gauge_->Set(1);
}

void Coordinator::GetStatus(const std::function<void(const v1::GetStatusResponse&)>& answer) {
  const auto done = [this, answer](const engine::EngineStats& stats) {
    using std::chrono::duration_cast;
    v1::GetStatusResponse response = MakeStatusResponse(stats, group_.status(), health_.Check());
    response.set_model(options_.served_model_name);
    response.set_uptime_ms(
        duration_cast<std::chrono::milliseconds>(clock_.Now() - started_).count());
    answer(response);
  };
  if (!engine_.GetStats(done).ok()) done({});
}

Status Coordinator::Listen(const std::string& rendezvous_address) {
  DeclareMetrics();
  LONGHAND_ASSIGN_OR_RETURN(const std::string metrics_address,
                            metrics_.Serve(options_.metrics_address));
  LONGHAND_ASSIGN_OR_RETURN(
      rendezvous_server_,
      api::GrpcServer::Start({.address = rendezvous_address, .services = {&rendezvous_}}));
  group_.SetRendezvousAddress(rendezvous_server_->address());
  restorer_.BeginStreams(std::exchange(unfinished_, {}));
  LONGHAND_ASSIGN_OR_RETURN(
      server_,
      api::GrpcServer::Start({.address = options_.grpc_address,
                              .tls_cert = options_.tls_cert,
                              .tls_key = options_.tls_key,
                              .max_receive_bytes = options_.max_request_bytes,
                              .services = {&generation_, &cluster_service_},
                              .service_names = {"longhand.v1.Generation", "longhand.v1.Cluster"}}));
  spdlog::info("serving {} from {}; pictures: {}", options_.served_model_name, options_.model,
               model_.pixels.ToString());
  LONGHAND_ASSIGN_OR_RETURN(const std::string http_address, gateway_.Start());
  Tell({{"http", http_address}, {"grpc", server_->address()}, {"metrics", metrics_address}});
  return OkStatus();
}

Status Coordinator::Run() {
  std::thread engine_thread([this] { engine_.Run(); });
  const Status queued = pool_.Submit([this] { restorer_.Restore(); });
  LONGHAND_CHECK(queued.ok()) << queued;
  group_.Start(engine_);
  do LookAround();
  while (!WaitForSignal(kLookAroundEvery));
  if (!failed_) Drain();
  restorer_.Stop();
  engine_.Stop();
  engine_thread.join();
  group_.Stop();
  restorer_.Acquit();
  if (journal_) journal_->Stop();  // What waits is written and seen first, unless the disk refuses.
  streams_.EndAll(Unavailable("the coordinator is stopping; attach to the stream again"));
  server_.reset();
  gateway_.Stop();
  return fatal_;
}

void Coordinator::LookAround() {
  const bool is_ready = health_.Look().ready;
  // Whoever watches is told of changes only.
  if (std::exchange(is_serving_, is_ready) != is_ready) server_->SetServing(is_ready);
  streams_.AbandonUnread(clock_.Now());
}

// What runs may finish, and what does not goes on with the next coordinator, if there is a journal;
// a second signal ends the wait.
void Coordinator::Drain() {
  spdlog::info("draining");
  gateway_.Drain();
  if (!engine_.Drain([] { kill(getpid(), SIGTERM); }).ok()) return;
  const TimePoint deadline = clock_.Now() + std::chrono::seconds(options_.shutdown_timeout);
  do LookAround();
  while (!WaitForSignal(kLookAroundEvery) && clock_.Now() < deadline);
}

int Serve(const CoordinatorOptions& options, const Log& log) {
  Result<Model> model = Model::Load(options.serve);
  if (!model.ok()) return Fail(model.status());
  const engine::EngineConfig engine_config = MakeEngineConfig(options.serve, model->config);
  if (const Status status = engine::CheckConfig(engine_config); !status.ok()) return Fail(status);
  Result<api::ApiKeys> keys = LoadKeys(options.serve);
  if (!keys.ok()) return Fail(keys.status());
  Result<std::unique_ptr<journal::Store>> store = OpenJournal(options.serve);
  if (!store.ok())
    return store.status().code() == StatusCode::kCancelled ? kExitOk : Fail(store.status());
  if (*store != nullptr && (*store)->num_lost_records() > 0) {
    spdlog::error("the journal in {} was damaged: {} records are lost", options.serve.journal,
                  (*store)->num_lost_records());
  }
  Coordinator coordinator(options, log, std::move(model).value(), std::move(keys).value(),
                          std::move(store).value());
  if (const Status status = coordinator.Listen(options.rendezvous_address); !status.ok())
    return Fail(status);
  const Status status = coordinator.Run();
  return status.ok() ? kExitOk : Fail(status);
}

int Main(const std::vector<std::string>& args) {
  CoordinatorOptions options;
  CLI::App app{"Takes requests and plans the steps of a group of workers.", "longhand-coordinator"};
  AddServeOptions(app, options.serve);
  std::string config_file;
  app.add_option("--config", config_file, "YAML file with the same names")->take_last();
  app.add_option("--workers", options.workers,
                 "host:port or unix:PATH of each rank, in rank order, then of the spares")
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
  if (options.serve.dry_run) return DryRun(options.serve);
  const int num_workers = options.serve.tensor_parallel_size + options.serve.spare_workers;
  if (static_cast<int>(options.workers.size()) != num_workers) {
    return Fail(InvalidArgument("--workers names ", options.workers.size(), " workers; it must be ",
                                num_workers, ": --tensor-parallel-size is ",
                                options.serve.tensor_parallel_size, ", --spare-workers is ",
                                options.serve.spare_workers));
  }
  return Serve(options, log);
}

}  // namespace
}  // namespace longhand

int main(int argc, char** argv) { return longhand::Main({argv + 1, argv + argc}); }
