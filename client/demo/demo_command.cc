#include "client/demo/demo_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "client/agent_write/document_writer.h"
#include "client/agent_write/generation_model.h"
#include "client/agent_write/instruction.h"
#include "client/connection.h"
#include "client/demo/picture_size.h"
#include "client/demo/story_printer.h"
#include "client/executable.h"
#include "client/generate/chat_file.h"
#include "client/serve/child_cluster.h"
#include "common/options/command_line.h"

namespace longhand::client {
namespace {

struct DemoOptions {
  Endpoint endpoint{.address = ""};
  std::string model;
  std::string image;
  int64_t words = 1000;
  std::string language = "en";
  SamplingOptions sampling{.temperature = 0.6};
  bool json = false;
};

void AddDemoOptions(CLI::App& app, DemoOptions& o) {
  const auto scalar = [&app](const char* name, auto& value, const char* help) {
    return app.add_option(name, value, help)->capture_default_str()->take_last();
  };
  AddEndpointOption(app, o.endpoint);
  app.get_option("--endpoint")
      ->description(
          "host:port of a running server's gRPC; without it, a cluster of two ranks is "
          "started and ended");
  scalar("--model", o.model, "Checkpoint directory of that cluster")
      ->configurable(false);  // LONGHAND_MODEL is what is served.
  scalar("--image", o.image, "Picture to write about");
  scalar("--words", o.words, "Length of the story")->check(CLI::Range(1, 100000));
  scalar("--lang", o.language, "Language of the story")->check(CLI::IsMember({"en", "zh"}));
  scalar("--temperature", *o.sampling.temperature, "0 is greedy");
  AddSeedOption(app, o.sampling);
  app.add_flag("--json", o.json, "No story: plan and sections as one JSON object at the end");
}

std::string Describe(const std::string& image_path, const std::string& file) {
  const std::optional<PictureSize> size = ReadPictureSize(file);
  return size ? fmt::format("{}, {} x {}", image_path, size->width, size->height) : image_path;
}

// To stderr where stdout is for a machine.
template <typename... Args>
void Say(const DemoOptions& o, const char* format, const Args&... args) {
  std::FILE* out = o.json ? stderr : stdout;
  fmt::print(out, fmt::runtime(format), args...);
  std::fflush(out);
}

Status StartCluster(const DemoOptions& o, ChildCluster* cluster) {
  if (!std::filesystem::exists(std::filesystem::path(o.model) / "config.json"))
    return NotFound("there is no model in ", o.model, "; --model names another directory");
  Say(o, "Model    {}\n", o.model);
  const auto start = std::chrono::steady_clock::now();
  LONGHAND_RETURN_IF_ERROR(
      cluster->Start(ExecutablePath(), {"--model", o.model, "--tensor-parallel-size", "2"}));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  Say(o, "Cluster  two ranks at {}, ready after {:.1f} s\n", cluster->endpoint(), took.count());
  return OkStatus();
}

Status WriteStory(const DemoOptions& o, const Endpoint& endpoint, const std::string& wish) {
  LONGHAND_ASSIGN_OR_RETURN(GenerationModel model,
                            GenerationModel::Create(Connect(endpoint), {o.image}, o.sampling,
                                                    /*retry_for=*/std::chrono::seconds(0)));
  const WordCounter counter;
  WriteObserver silence;
  if (o.json) {
    LONGHAND_ASSIGN_OR_RETURN(
        const Document document,
        DocumentWriter(model, counter, Draws(o.sampling), silence).Write(wish));
    fmt::print("{}\n", ToJson(document, wish, {o.image}));
    return OkStatus();
  }
  StoryPrinter printer;
  const Result<Document> document =
      DocumentWriter(model, counter, Draws(o.sampling), printer).Write(wish);
  if (!document.ok()) {
    printer.OnFailure();
    fmt::print("\n");
    return document.status();
  }
  printer.OnEnd(*document);
  return OkStatus();
}

Status RunDemo(const DemoOptions& o) {
  LONGHAND_ASSIGN_OR_RETURN(const std::string picture, ReadFile(o.image));
  Say(o, "Picture  {}\n", Describe(o.image, picture));
  const std::string wish =
      StoryInstruction(o.words, 1, o.language == "zh" ? Language::kChinese : Language::kEnglish);
  Say(o, "Wish     {}\n", wish);
  Endpoint endpoint = o.endpoint;
  ChildCluster cluster;
  if (endpoint.address.empty()) {
    LONGHAND_RETURN_IF_ERROR(StartCluster(o, &cluster));
    endpoint.address = cluster.endpoint();
  }
  return WriteStory(o, endpoint, wish);
}

}  // namespace

int DemoCommand(const std::vector<std::string>& args) {
  CLI::App app{
      "Shows what Longhand does: serves the bundled model with two ranks and writes a story about "
      "a picture, first a plan, then section after section. Ctrl-C ends everything.",
      "longhand demo"};
  app.footer("A plan that cannot be read is asked for once more, unless --temperature is 0.");
  DemoOptions options{.model = BundledPath("model"), .image = BundledPath("pictures/beach.png")};
  AddDemoOptions(app, options);
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  const Status status = RunDemo(options);
  if (status.ok()) return kExitOk;
  if (ChildCluster::interrupted()) {
    std::fprintf(stderr, "longhand demo: interrupted; the cluster has ended\n");
  } else {
    std::fprintf(stderr, "longhand demo: %s\n", status.message().c_str());
  }
  return kExitFailed;
}

}  // namespace longhand::client
