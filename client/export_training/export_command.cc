#include "client/export_training/export_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <functional>

#include "client/export_training/annotations.h"
#include "client/export_training/training_folder.h"
#include "client/export_training/training_yaml.h"
#include "client/export_training/written_rows.h"
#include "common/options/command_line.h"

namespace longhand::client {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxShownFaults = 10;

struct ExportOptions {
  std::string writing, messages, annotations;
  std::string revision = "main";
  std::string picture_folder;
  std::string instruction = "Write a lecture script for these slides.";
  fs::path out = "training";
  std::string name = "longwriter_v";
  std::string model;
  std::string finetuning_type = "full";
  bool pictures_first = false;
  int64_t limit = 0;
  bool json = false;
};

void AddExportOptions(CLI::App& app, ExportOptions& o) {
  app.add_option("--agentwrite", o.writing,
                 "SFT from results of `agentwrite write` or `write --json` (JSON lines)")
      ->take_last();
  app.add_option("--messages", o.messages,
                 "SFT from rows with `messages` and pictures, as THU-KEG/LongWriter-V-22K has: a "
                 "file, a folder or ORG/NAME")
      ->take_last();
  app.add_option("--annotations", o.annotations,
                 "DPO from scripts that people revised: MAJOR/COURSE/{pngs,scripts,"
                 "annotated_scripts}/N; a pair for each page, of all pages up to it")
      ->take_last();
  app.add_option("--revision", o.revision, "Of ORG/NAME: branch, tag or commit")
      ->capture_default_str()
      ->take_last();
  app.add_option("--image-folder", o.picture_folder,
                 "With --agentwrite: what relative paths of pictures start from; the file's folder "
                 "by default")
      ->take_last();
  app.add_option("--instruction", o.instruction, "With --annotations: what was asked")
      ->capture_default_str()
      ->take_last();
  app.add_flag("--images-first", o.pictures_first,
               "Pictures before the instruction; after it by default, as LongWriter-V's scripts "
               "ask. Rows that place all of theirs keep them where they are");
  app.add_option("--out", o.out, "Folder: LLaMA-Factory's dataset_dir")
      ->capture_default_str()
      ->take_last();
  app.add_option("--name", o.name, "Of the data set: letters, digits, '_' and '-'")
      ->capture_default_str()
      ->take_last();
  app.add_option("--model", o.model,
                 "What is trained, for the YAML file; Qwen/Qwen2.5-VL-7B-Instruct for SFT and "
                 "THU-KEG/LongWriter-V-7B for DPO by default")
      ->take_last();
  app.add_option("--finetuning-type", o.finetuning_type, "For the YAML file")
      ->check(CLI::IsMember({"full", "lora"}))
      ->capture_default_str()
      ->take_last();
  app.add_option("--limit", o.limit, "Only the first samples; 0: all")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str()
      ->take_last();
  app.add_flag("--json", o.json, "One JSON object at the end");
  for (CLI::Option* option : app.get_options()) option->configurable(false);
}

// What became of the rows.
class Export {
 public:
  Export(const ExportOptions& options, TrainingFolder folder)
      : o_(options), folder_(std::move(folder)) {}

  bool is_full() const { return o_.limit > 0 && folder_.num_samples() >= o_.limit; }

  // A sample that LLaMA-Factory would not take is left out and said; errors of the disk end all.
  Status Take(Result<Sample> sample) {
    ++num_rows_;
    Status fault = sample.status();
    if (sample.ok()) fault = Prepare(*sample, o_.pictures_first, &num_neutral_);
    if (fault.ok()) return folder_.Add(*sample);
    if (++num_left_out_ <= kMaxShownFaults)
      std::fprintf(stderr, "longhand export-training: sample %ld is left out: %s\n", num_rows_,
                   fault.message().c_str());
    return OkStatus();
  }

  Status Finish(bool is_pairs) {
    if (folder_.num_samples() == 0) return FailedPrecondition("no sample is left to train on");
    return folder_.Finish(is_pairs);
  }

  int64_t num_samples() const { return folder_.num_samples(); }
  int64_t num_left_out() const { return num_left_out_; }
  int64_t num_neutral() const { return num_neutral_; }

 private:
  const ExportOptions& o_;
  TrainingFolder folder_;
  int64_t num_rows_ = 0, num_left_out_ = 0, num_neutral_ = 0;
};

Status TakeRows(const std::string& data,
                const ExportOptions& o,
                const std::function<Result<Sample>(DatasetRow)>& sample_of,
                Export& out) {
  LONGHAND_ASSIGN_OR_RETURN(Dataset dataset, Dataset::Open(data, o.revision, o.picture_folder));
  while (!out.is_full()) {
    LONGHAND_ASSIGN_OR_RETURN(std::optional<DatasetRow> row, dataset.Next());
    if (!row) break;
    LONGHAND_RETURN_IF_ERROR(out.Take(sample_of(std::move(*row))));
  }
  return OkStatus();
}

// `note` tells what a person should know of the data.
Status TakeAll(const ExportOptions& o, Export& out, std::string* note) {
  if (!o.writing.empty()) return TakeRows(o.writing, o, SampleOfWriting, out);
  if (!o.messages.empty()) {
    std::string form;
    LONGHAND_RETURN_IF_ERROR(TakeRows(
        o.messages, o, [&](DatasetRow row) { return SampleOfMessages(std::move(row), &form); },
        out));
    *note = "messages are " + form;
    return OkStatus();
  }
  AnnotationCounts counts;
  LONGHAND_RETURN_IF_ERROR(ForEachPrefixPair(
      o.annotations, o.instruction, &counts,
      [&](Sample pair) { return out.is_full() ? OkStatus() : out.Take(std::move(pair)); }));
  *note = fmt::format("{} courses; {} prefixes without a revision make no pair", counts.num_courses,
                      counts.num_equal);
  return OkStatus();
}

Result<fs::path> WriteYaml(const ExportOptions& o, bool is_dpo) {
  TrainingSettings settings{.model = o.model,
                            .dataset_dir = fs::absolute(o.out).lexically_normal().string(),
                            .dataset = o.name,
                            .output_dir = "saves/" + o.name,
                            .is_dpo = is_dpo,
                            .is_lora = o.finetuning_type == "lora"};
  if (settings.model.empty())
    settings.model = is_dpo ? "THU-KEG/LongWriter-V-7B" : "Qwen/Qwen2.5-VL-7B-Instruct";
  const fs::path path = o.out / (o.name + (is_dpo ? "_dpo.yaml" : "_sft.yaml"));
  LONGHAND_RETURN_IF_ERROR(WriteWhole(path, TrainingYaml(settings)));
  return path;
}

Status Check(const ExportOptions& o) {
  if (!o.writing.empty() + !o.messages.empty() + !o.annotations.empty() != 1)
    return InvalidArgument("give exactly one of --agentwrite, --messages and --annotations");
  const bool is_plain =
      !o.name.empty() && std::all_of(o.name.begin(), o.name.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '_' || c == '-';
      });
  if (!is_plain) return InvalidArgument("--name must be of letters, digits, '_' and '-'");
  return OkStatus();
}

Status Run(const ExportOptions& o) {
  LONGHAND_RETURN_IF_ERROR(Check(o));
  const bool is_dpo = !o.annotations.empty();
  LONGHAND_ASSIGN_OR_RETURN(TrainingFolder folder, TrainingFolder::Open(o.out, o.name));
  Export out(o, std::move(folder));
  std::string note;
  LONGHAND_RETURN_IF_ERROR(TakeAll(o, out, &note));
  LONGHAND_RETURN_IF_ERROR(out.Finish(is_dpo));
  LONGHAND_ASSIGN_OR_RETURN(const fs::path yaml, WriteYaml(o, is_dpo));
  if (o.json) {
    const boost::json::object result{{"samples", out.num_samples()},
                                     {"left_out", out.num_left_out()},
                                     {"neutralised", out.num_neutral()},
                                     {"note", note},
                                     {"yaml", yaml.string()}};
    std::printf("%s\n", boost::json::serialize(result).c_str());
    return OkStatus();
  }
  std::printf(
      "%ld samples, %ld left out; %ld marks in texts that LLaMA-Factory would misread were "
      "changed\n",
      out.num_samples(), out.num_left_out(), out.num_neutral());
  if (!note.empty()) std::printf("%s\n", note.c_str());
  std::printf("llamafactory-cli train %s\n", yaml.c_str());
  return OkStatus();
}

}  // namespace

int ExportTrainingCommand(const std::vector<std::string>& args) {
  CLI::App app{
      "Makes a data set for LLaMA-Factory: ShareGPT rows, pictures, dataset_info.json, and a YAML "
      "file for\nSFT or DPO.",
      "longhand export-training"};
  ExportOptions options;
  AddExportOptions(app, options);
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  const Status status = Run(options);
  if (status.ok()) return kExitOk;
  std::fprintf(stderr, "longhand export-training: %s\n", status.ToString().c_str());
  return status.code() == StatusCode::kInvalidArgument ? kExitUsage : kExitFailed;
}

}  // namespace longhand::client
