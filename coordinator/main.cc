// longhand-coordinator: takes requests, plans steps, sends them to workers, streams the answers.
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <random>
#include <thread>

#include "common/config/model_config.h"
#include "common/options/command_line.h"
#include "common/options/serve_options.h"
#include "common/prometheus/prometheus_metrics.h"
#include "common/version.h"
#include "coordinator/api/cluster_service.h"
#include "coordinator/api/generation_service.h"
#include "coordinator/api/grpc_server.h"
#include "coordinator/api/input_pool.h"
#include "coordinator/api/request_preparer.h"
#include "coordinator/cluster/capacity.h"
#include "coordinator/cluster/rendezvous_service.h"
#include "coordinator/cluster/worker_group.h"
#include "coordinator/engine/engine.h"
#include "coordinator/input/image_processor.h"
#include "coordinator/input/pixel_policy.h"
#include "coordinator/input/prompt_encoder.h"
#include "coordinator/input/text_state.h"
#include "coordinator/status_response.h"
#include "shim/chat_template.h"
#include "shim/tokenizer.h"

namespace longhand {
namespace {

constexpr int kInputThreads = 2;
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

  static Result<Model> Load(const ServeOptions& options);
};

Result<input::PixelPolicy> PixelsOf(const ServeOptions& options, const ModelConfig& config) {
  return input::MakePixelPolicy(options.pixel_policy, config.image_policy, options.min_pixels, options.max_pixels);
}

Result<Model> Model::Load(const ServeOptions& options) {
  LONGHAND_ASSIGN_OR_RETURN(ModelConfig config, ModelConfig::Load(options.model));
  LONGHAND_ASSIGN_OR_RETURN(input::PixelPolicy pixels, PixelsOf(options, config));
  LONGHAND_ASSIGN_OR_RETURN(shim::Tokenizer tokenizer, shim::Tokenizer::Load(options.model));
  LONGHAND_ASSIGN_OR_RETURN(shim::ChatTemplate chat_template, shim::ChatTemplate::Load(options.model));
  return Model{std::move(config), pixels, std::move(tokenizer), std::move(chat_template)};
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
  const Result<cluster::Capacity> fitting =
      cluster::PlanCapacity(options, *model, pixels->max_pixels, cluster::AvailableMemoryBytes() / options.tensor_parallel_size);
  if (fitting.ok()) capacity = fitting;
  std::fputs(cluster::CapacityTable(*capacity, *model).c_str(), options.json ? stderr : stdout);
  if (!fitting.ok()) std::fprintf(stderr, "On this machine: %s\n", fitting.status().message().c_str());
  if (options.json) std::printf("%s\n", cluster::CapacityJson(*capacity).c_str());
  return kExitOk;
}

engine::EngineConfig MakeEngineConfig(const ServeOptions& options, const ModelConfig& model) {
  return {.max_num_batched_tokens = options.max_num_batched_tokens,
          .max_num_seqs = std::min(options.max_num_seqs, options.max_num_batched_tokens),
          .max_model_len = options.max_model_len > 0 ? options.max_model_len : model.max_position_embeddings,
          .max_waiting_seqs = options.max_waiting_requests,
          .pipeline_depth = options.pipeline_depth,
          .eos_token_ids = model.generation.eos_token_ids};
}

uint64_t DrawSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

std::string ServedName(const ServeOptions& options) {
  if (!options.served_model_name.empty()) return options.served_model_name;
  const std::filesystem::path path(options.model);
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

// Blocks until SIGTERM or SIGINT.
void WaitForSignal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  int number = 0;
  sigwait(&signals, &number);
}

// Before any thread starts, so that all inherit it: signals are taken by WaitForSignal alone.
void BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGPIPE}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

int Serve(const CoordinatorOptions& options) {
  const ServeOptions& serve = options.serve;
  const SteadyClock clock;
  const TimePoint started = clock.Now();
  Result<Model> model = Model::Load(serve);
  if (!model.ok()) return Fail(model.status());
  const ModelConfig& config = model->config;
  const engine::EngineConfig engine_config = MakeEngineConfig(serve, config);
  if (const Status status = engine::CheckConfig(engine_config); !status.ok()) return Fail(status);
  spdlog::info("serving {} from {}; pictures: {}", ServedName(serve), serve.model, model->pixels.ToString());

  PrometheusMetrics metrics;
  const Result<std::string> metrics_address = metrics.Serve(serve.metrics_address);
  if (!metrics_address.ok()) return Fail(metrics_address.status());

  // Input: a request becomes a prompt.
  const input::PromptEncoder encoder(model->tokenizer, model->chat_template,
                                     {.vocab_size = static_cast<int32_t>(config.vocab_size),
                                      .video_token_id = config.video_token_id,
                                      .max_model_len = engine_config.max_model_len});
  const input::ImageProcessor images(config.vision, model->pixels, {});
  const input::TextStateOfAnswerFactory text(model->tokenizer);

  // Cluster: ranks that execute plans.
  cluster::RendezvousService rendezvous;
  const auto rendezvous_server =
      api::GrpcServer::Start({.address = options.rendezvous_address, .services = {&rendezvous}});
  if (!rendezvous_server.ok()) return Fail(rendezvous_server.status());
  std::atomic<api::GrpcServer*> server_for_health = nullptr;
  std::atomic<bool> ready = false;
  Status fatal;
  cluster::WorkerGroup group(
      {.addresses = options.workers,
       .options = serve,
       .model = config,
       .max_pixels = model->pixels.max_pixels,
       .group_name = "lh-" + std::to_string(getpid()) + "-" + std::to_string(DrawSeed() & 0xffffffff),
       .rendezvous_address = (*rendezvous_server)->address()},
      clock,
      {.on_forming = [&] { rendezvous.Clear(); },
       .on_change =
           [&](const cluster::GroupStatus& status) {
             const bool now = status.state == cluster::GroupState::kReady;
             spdlog::info("worker group: epoch {}, {}", status.epoch, now ? "ready" : status.detail);
             if (now) spdlog::info("\n{}", cluster::CapacityTable(status.capacity, config));
             if (api::GrpcServer* server = server_for_health) server->SetServing(now);
             if (ready.exchange(now) != now) Tell({{"ready", now}});
           },
       .on_fatal =
           [&](const Status& status) {
             fatal = status;
             kill(getpid(), SIGTERM);
           }});

  // Engine: one thread plans and delivers.
  engine::Engine engine(engine_config, {.executor = group, .text = text, .clock = clock, .metrics = metrics});

  // Edges.
  const api::RequestPreparer preparer(config, encoder, images,
                                      {.served_model_name = ServedName(serve),
                                       .max_images = serve.limit_mm_per_prompt,
                                       .max_model_len =
                                           [&] {
                                             const int64_t planned = group.status().capacity.max_model_len;
                                             return planned > 0 ? planned : engine_config.max_model_len;
                                           },
                                       .draw_seed = DrawSeed});
  api::InputPool pool(kInputThreads, static_cast<size_t>(serve.max_waiting_requests));
  api::GenerationService generation({.preparer = preparer,
                                     .tokenizer = model->tokenizer,
                                     .engine = engine,
                                     .pool = pool,
                                     .max_bytes_in_preparation = kRequestsInPreparation * serve.max_request_bytes});
  api::ClusterService cluster_service(
      {.get_status =
           [&](std::function<void(const v1::GetStatusResponse&)> answer) {
             const auto done = [&, answer](const engine::EngineStats& stats) {
               v1::GetStatusResponse response = MakeStatusResponse(stats, group.status());
               response.set_model(ServedName(serve));
               response.set_uptime_ms(
                   std::chrono::duration_cast<std::chrono::milliseconds>(clock.Now() - started).count());
               answer(response);
             };
             if (!engine.GetStats(done).ok()) done({});
           },
       .drain =
           [&](std::function<void()> on_idle) {
             if (!engine.Drain(on_idle).ok()) on_idle();
           }});
  auto server = api::GrpcServer::Start({.address = serve.grpc_address,
                                        .max_receive_bytes = serve.max_request_bytes,
                                        .services = {&generation, &cluster_service},
                                        .service_names = {"longhand.v1.Generation", "longhand.v1.Cluster"}});
  if (!server.ok()) return Fail(server.status());
  server_for_health = server->get();
  Tell({{"grpc", (*server)->address()}, {"metrics", *metrics_address}});

  std::thread engine_thread([&] { engine.Run(); });
  group.Start(engine);
  WaitForSignal();

  // What runs may finish; a second signal ends it now.
  if (fatal.ok() && engine.Drain([] { kill(getpid(), SIGINT); }).ok()) {
    spdlog::info("draining");
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
    const timespec patience{.tv_sec = serve.shutdown_timeout};
    sigtimedwait(&signals, nullptr, &patience);
  }
  server_for_health = nullptr;
  engine.Stop();
  engine_thread.join();
  server->reset();
  group.Stop();
  return fatal.ok() ? kExitOk : Fail(fatal);
}

int Main(const std::vector<std::string>& args) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("coordinator"));
  spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %^%l%$ [%n] %v");
  CoordinatorOptions options;
  CLI::App app{"Takes requests and plans the steps of a group of workers.", "longhand-coordinator"};
  AddServeOptions(app, options.serve);
  std::string config_file;
  app.add_option("--config", config_file, "YAML file with the same names");
  app.add_option("--workers", options.workers, "host:port or unix:PATH of each rank, in rank order")->delimiter(',');
  app.add_option("--rendezvous-address", options.rendezvous_address,
                 "host:port at which workers on other hosts find each other")
      ->capture_default_str()
      ->take_last();
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  if (options.serve.model.empty()) return Fail(InvalidArgument("--model is required: a checkpoint directory"));
  if (options.serve.dry_run) return DryRun(options.serve);
  if (static_cast<int>(options.workers.size()) != options.serve.tensor_parallel_size) {
    return Fail(InvalidArgument("--workers names ", options.workers.size(), " workers; --tensor-parallel-size is ",
                                options.serve.tensor_parallel_size));
  }
  BlockSignals();
  return Serve(options);
}

}  // namespace
}  // namespace longhand

int main(int argc, char** argv) { return longhand::Main({argv + 1, argv + argc}); }
