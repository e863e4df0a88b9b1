#include "client/agent_write/agentwrite_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "client/agent_write/agentwrite_rows.h"
#include "client/generate/chat_file.h"
#include "common/agent_write/templates.h"
#include "common/options/command_line.h"

namespace longhand::client {
namespace {

struct Command {
  AgentWriteOptions rows;
  std::string split = "robust";
  std::string templates;
  bool json = false;
};

void AddOptions(CLI::App& app, Command& c, bool writes) {
  c.rows.in = writes ? "plan.jsonl" : "instructions.jsonl";
  c.rows.out = writes ? "write.jsonl" : "plan.jsonl";
  c.rows.cache = "write_cache.jsonl";
  app.add_option("--in", c.rows.in,
                 writes ? "Rows with `prompt` and `plan`"
                        : "Rows with `prompt` (or `instruction` or `question`) and pictures: JSON "
                          "lines with `images`, paths or data URLs; or a data set as `eval` takes")
      ->capture_default_str()
      ->take_last();
  app.add_option("--out", c.rows.out, "What comes is appended; rows that it has are not done again")
      ->capture_default_str()
      ->take_last();
  if (writes) {
    app.add_option("--cache", c.rows.cache, "Where every section goes when it is there")
        ->capture_default_str()
        ->take_last();
    app.add_option("--split", c.split,
                   "How a plan becomes sections. robust: at lines that begin with 'Section k'; "
                   "published: by the published code's regular expression")
        ->check(CLI::IsMember({"robust", "published"}))
        ->capture_default_str()
        ->take_last();
    app.add_flag("--published", c.rows.is_published,
                 "As the published code does it: no section sees those before it, and word counts "
                 "are what white space separates");
  }
  app.add_option("--image-folder", c.rows.picture_folder,
                 "What relative paths of pictures start from; the folder of --in by default")
      ->take_last();
  app.add_option("--templates", c.templates, "Folder with other prompts: plan.txt, write.txt")
      ->take_last();
  app.add_option("--concurrency", c.rows.concurrency, "Rows at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->take_last();
  app.add_flag("--json", c.json, "No progress; one JSON object at the end");
  AddSamplingOptions(app, c.rows.sampling);
  AddChatOptions(app, c.rows.chat);
}

Status LoadTemplate(const std::string& folder,
                    const char* name,
                    std::string_view ours,
                    std::string* text) {
  *text = ours;
  if (folder.empty()) return OkStatus();
  LONGHAND_ASSIGN_OR_RETURN(*text, ReadFile(std::filesystem::path(folder) / name));
  return OkStatus();
}

Result<int64_t> Run(Command& c, bool writes) {
  c.rows.split = c.split == "published" ? PlanSplit::kPublished : PlanSplit::kRobust;
  c.rows.is_quiet = c.json;
  if (writes) {
    LONGHAND_RETURN_IF_ERROR(
        LoadTemplate(c.templates, "write.txt", kWriteTemplate, &c.rows.write_template));
    return WriteRows(c.rows);
  }
  LONGHAND_RETURN_IF_ERROR(
      LoadTemplate(c.templates, "plan.txt", kPlanTemplate, &c.rows.plan_template));
  return PlanRows(c.rows);
}

int RunPhase(const std::vector<std::string>& args, bool writes) {
  const std::string name = writes ? "longhand agentwrite write" : "longhand agentwrite plan";
  CLI::App app{writes ? "Writes the sections of every plan, each with the plan and the sections "
                        "before it before the model."
                      : "Asks for a plan for every instruction.",
               name};
  app.footer(
      "Rows are known by `id`, else by a hash of text and pictures. Sampling is the server's "
      "where it is not given, as in the published code. Exit code 1 when a row failed; run it "
      "again for these.");
  Command command;
  AddOptions(app, command, writes);
  if (const auto exit = ParseCommandLine(app, args)) return *exit;
  const Result<int64_t> num_failed = Run(command, writes);
  if (!num_failed.ok()) {
    std::fprintf(stderr, "%s: %s\n", name.c_str(), num_failed.status().ToString().c_str());
    return kExitFailed;
  }
  if (command.json)
    std::printf("{\"out\":%s,\"failed\":%ld}\n",
                boost::json::serialize(boost::json::value(command.rows.out.string())).c_str(),
                *num_failed);
  return *num_failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace

int AgentWriteCommand(const std::vector<std::string>& args) {
  const std::vector<std::string> rest(args.empty() ? args.end() : args.begin() + 1, args.end());
  if (!args.empty() && (args[0] == "plan" || args[0] == "write"))
    return RunPhase(rest, args[0] == "write");
  const bool wants_help = !args.empty() && (args[0] == "--help" || args[0] == "-h");
  std::fprintf(wants_help ? stdout : stderr,
               "Usage: longhand agentwrite plan|write [FLAGS]\n\n"
               "  plan   a plan for every instruction of a file\n"
               "  write  the sections of every plan\n\n"
               "`longhand agentwrite plan --help` lists the flags.\n");
  return wants_help ? kExitOk : kExitUsage;
}

}  // namespace longhand::client
