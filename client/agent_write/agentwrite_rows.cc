#include "client/agent_write/agentwrite_rows.h"

#include <map>
#include <mutex>
#include <set>

#include "client/agent_write/published_split.h"
#include "client/dataset/row_key.h"
#include "client/rows/row_pool.h"
#include "common/agent_write/outline.h"
#include "common/agent_write/template_text.h"
#include "common/text/word_counter.h"

namespace longhand::client {
namespace {

namespace json = boost::json;

constexpr size_t kMaxSteps = 50;  // the published code's
constexpr const char* kRowKey = "row_key";

std::string StringOf(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

// The instruction, by any of its usual names.
Result<std::string> PromptOf(const json::object& fields) {
  for (const char* name : {"prompt", "instruction", "question"})
    if (std::string prompt = StringOf(fields, name); !prompt.empty()) return prompt;
  return InvalidArgument("a row has no text `prompt` (or `instruction` or `question`)");
}

// JSON lines that grow, and the keys of the rows that they have. Any thread.
class RowOutput {
 public:
  static Result<std::unique_ptr<RowOutput>> Open(const std::filesystem::path& path) {
    LONGHAND_ASSIGN_OR_RETURN(JsonLinesWriter writer, JsonLinesWriter::Append(path));
    auto output = std::unique_ptr<RowOutput>(new RowOutput(std::move(writer)));
    LONGHAND_ASSIGN_OR_RETURN(JsonLinesReader reader, JsonLinesReader::Open(path));
    while (true) {
      LONGHAND_ASSIGN_OR_RETURN(const std::optional<json::object> row, reader.Next());
      if (!row) return output;
      output->keys_.insert(StringOf(*row, kRowKey));
    }
  }

  bool Has(const std::string& key) const {
    std::lock_guard lock(mutex_);
    return keys_.count(key) > 0;
  }
  Status Add(const json::object& row) {
    std::lock_guard lock(mutex_);
    keys_.insert(StringOf(row, kRowKey));
    return writer_.Add(row);
  }

 private:
  explicit RowOutput(JsonLinesWriter writer) : writer_(std::move(writer)) {}

  mutable std::mutex mutex_;
  JsonLinesWriter writer_;
  std::set<std::string> keys_;
};

// The rows of `in` that `out` has not.
class OpenRows {
 public:
  OpenRows(Dataset dataset, const RowOutput& out) : dataset_(std::move(dataset)), out_(out) {}

  Result<std::optional<KeyedRow>> Next() {
    while (true) {
      LONGHAND_ASSIGN_OR_RETURN(std::optional<DatasetRow> row, dataset_.Next());
      if (!row) return std::optional<KeyedRow>();
      LONGHAND_ASSIGN_OR_RETURN(const std::string prompt, PromptOf(row->fields));
      // A planned row has its key.
      std::string key = StringOf(row->fields, kRowKey);
      if (key.empty()) key = keys_.KeyOf(*row, prompt);
      if (!out_.Has(key)) return std::optional(KeyedRow{std::move(key), std::move(*row)});
    }
  }

 private:
  Dataset dataset_;
  RowKeys keys_;
  const RowOutput& out_;
};

// Pictures that were bytes of a Parquet file become data URLs: a row stands for itself.
json::object FieldsOf(const KeyedRow& row) {
  json::object fields = row.row.fields;
  const bool names_pictures =
      fields.contains("images") || fields.contains("image_paths") || fields.contains("image");
  if (!names_pictures && !row.row.pictures.empty()) {
    json::array urls;
    for (const Picture& picture : row.row.pictures) urls.push_back(json::string(DataUrl(picture)));
    fields["images"] = std::move(urls);
  }
  fields[kRowKey] = row.key;
  return fields;
}

Result<std::string> Ask(ChatModel& model,
                        const AgentWriteOptions& o,
                        const std::string& prompt,
                        const DatasetRow& row) {
  LONGHAND_ASSIGN_OR_RETURN(ChatReply reply,
                            AskPatiently(model, {prompt, &row.pictures, o.sampling}, o.chat.tries));
  if (!reply.refusal.empty()) return Aborted("the model refuses: ", reply.refusal);
  if (reply.text.empty()) return Aborted("the model wrote nothing");
  return std::move(reply.text);
}

Result<int64_t> RunRows(AgentWriteOptions& o,
                        const char* what,
                        RowOutput& out,
                        const std::function<Status(ChatModel&, const KeyedRow&)>& work) {
  LONGHAND_ASSIGN_OR_RETURN(const ChatFactory make_model, MakeChatFactory(o.chat));
  LONGHAND_ASSIGN_OR_RETURN(Dataset dataset, Dataset::Open(o.in, "main", o.picture_folder));
  OpenRows rows(std::move(dataset), out);
  RowProgress progress(what, o.is_quiet);
  LONGHAND_RETURN_IF_ERROR(
      ForEachRow(o.concurrency, make_model, {[&] { return rows.Next(); }, work}, progress));
  return progress.num_failed();
}

Result<std::vector<std::string>> SplitPlan(const std::string& plan, PlanSplit split) {
  if (split == PlanSplit::kPublished) {
    std::vector<std::string> steps = SplitAsPublished(plan);
    if (steps.empty()) return Aborted("the plan is empty");
    if (steps.size() > kMaxSteps)
      return Aborted("the plan has ", steps.size(), " sections; at most ", kMaxSteps,
                     " are written");
    return steps;
  }
  Result<std::vector<OutlineSection>> outline = ParseOutline(plan);
  if (!outline.ok()) return Aborted("the plan cannot be read: ", outline.status().message());
  std::vector<std::string> steps;
  for (OutlineSection& section : *outline) steps.push_back(std::move(section.step));
  return steps;
}

int64_t WordsBetweenSpaces(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  int64_t count = 0;
  for (size_t at = 0; (at = text.find_first_not_of(kSpace, at)) != std::string_view::npos; ++count)
    at = std::min(text.find_first_of(kSpace, at), text.size());
  return count;
}

// Sections that were written, on disk as they come. Any thread.
class SectionCache {
 public:
  static Result<std::unique_ptr<SectionCache>> Open(const std::filesystem::path& path) {
    LONGHAND_ASSIGN_OR_RETURN(JsonLinesWriter writer, JsonLinesWriter::Append(path));
    auto cache = std::unique_ptr<SectionCache>(new SectionCache(std::move(writer)));
    LONGHAND_ASSIGN_OR_RETURN(JsonLinesReader reader, JsonLinesReader::Open(path));
    while (true) {
      LONGHAND_ASSIGN_OR_RETURN(const std::optional<json::object> line, reader.Next());
      if (!line) return cache;
      const json::value* index = line->if_contains("index");
      if (index != nullptr && index->is_int64())
        cache->sections_[{StringOf(*line, kRowKey), static_cast<size_t>(index->get_int64()),
                          StringOf(*line, "step")}] = StringOf(*line, "response");
    }
  }

  std::string Find(const std::string& key, size_t index, const std::string& step) const {
    std::lock_guard lock(mutex_);
    const auto found = sections_.find({key, index, step});
    return found == sections_.end() ? "" : found->second;
  }
  Status Add(const std::string& key,
             size_t index,
             const std::string& prompt,
             const std::string& step,
             const std::string& response) {
    std::lock_guard lock(mutex_);
    return writer_.Add({{kRowKey, key},
                        {"index", static_cast<int64_t>(index)},
                        {"prompt", prompt},
                        {"step", step},
                        {"response", response}});
  }

 private:
  explicit SectionCache(JsonLinesWriter writer) : writer_(std::move(writer)) {}

  mutable std::mutex mutex_;
  JsonLinesWriter writer_;
  std::map<std::tuple<std::string, size_t, std::string>, std::string> sections_;
};

// Asks for the sections of one row, in order.
class RowWriter {
 public:
  RowWriter(ChatModel& model,
            const AgentWriteOptions& options,
            const WordCounter& counter,
            SectionCache& cache)
      : model_(model), o_(options), counter_(counter), cache_(cache) {}

  Result<json::object> Write(const KeyedRow& row) {
    LONGHAND_ASSIGN_OR_RETURN(const std::string prompt, PromptOf(row.row.fields));
    const std::string plan = StringOf(row.row.fields, "plan");
    if (plan.empty()) return InvalidArgument("the row has no text `plan`");
    LONGHAND_ASSIGN_OR_RETURN(const std::vector<std::string> steps, SplitPlan(plan, o_.split));
    json::array texts, sections;
    int64_t total = 0;
    std::string text_so_far;
    for (size_t i = 0; i < steps.size(); ++i) {
      Result<std::string> text = Section(row, prompt, plan, i, steps[i], text_so_far);
      if (!text.ok())
        return text.status().WithContext("section " + std::to_string(i + 1) + " of " +
                                         std::to_string(steps.size()));
      const int64_t words = o_.is_published ? WordsBetweenSpaces(*text) : counter_.Count(*text);
      total += words;
      texts.push_back(json::string(*text));
      sections.push_back({{"section", steps[i]}, {"response", *text}, {"word_count", words}});
      if (!text_so_far.empty()) text_so_far += "\n\n";
      text_so_far += *text;
    }
    json::object out = FieldsOf(row);
    out["write"] = std::move(texts);
    out["sections"] = std::move(sections);
    out["total_word_count"] = total;
    return out;
  }

 private:
  Result<std::string> Section(const KeyedRow& row,
                              const std::string& prompt,
                              const std::string& plan,
                              size_t index,
                              const std::string& step,
                              const std::string& text_so_far) {
    if (std::string cached = cache_.Find(row.key, index, step); !cached.empty()) return cached;
    const std::string question = FillTemplate(
        o_.write_template, {{"$INST$", prompt},
                            {"$PLAN$", plan},
                            {"$TEXT$", o_.is_published ? std::string_view() : text_so_far},
                            {"$STEP$", step}});
    LONGHAND_ASSIGN_OR_RETURN(std::string text, Ask(model_, o_, question, row.row));
    LONGHAND_RETURN_IF_ERROR(cache_.Add(row.key, index, prompt, step, text));
    return text;
  }

  ChatModel& model_;
  const AgentWriteOptions& o_;
  const WordCounter& counter_;
  SectionCache& cache_;
};

}  // namespace

Result<int64_t> PlanRows(AgentWriteOptions& o) {
  LONGHAND_ASSIGN_OR_RETURN(const std::unique_ptr<RowOutput> out, RowOutput::Open(o.out));
  return RunRows(o, "planning", *out, [&](ChatModel& model, const KeyedRow& row) -> Status {
    LONGHAND_ASSIGN_OR_RETURN(const std::string prompt, PromptOf(row.row.fields));
    LONGHAND_ASSIGN_OR_RETURN(
        const std::string plan,
        Ask(model, o, FillTemplate(o.plan_template, {{"$INST$", prompt}}), row.row));
    json::object fields = FieldsOf(row);
    fields["plan"] = plan;
    return out->Add(fields);
  });
}

Result<int64_t> WriteRows(AgentWriteOptions& o) {
  LONGHAND_ASSIGN_OR_RETURN(const std::unique_ptr<RowOutput> out, RowOutput::Open(o.out));
  LONGHAND_ASSIGN_OR_RETURN(const std::unique_ptr<SectionCache> cache, SectionCache::Open(o.cache));
  const WordCounter counter;
  return RunRows(o, "writing", *out, [&](ChatModel& model, const KeyedRow& row) -> Status {
    LONGHAND_ASSIGN_OR_RETURN(const json::object written,
                              RowWriter(model, o, counter, *cache).Write(row));
    return out->Add(written);
  });
}

}  // namespace longhand::client
