#include "client/eval/writer.h"

#include <algorithm>
#include <cmath>

#include "client/eval/eval_rows.h"
#include "common/agent_write/template_text.h"

namespace longhand::client {
namespace {

constexpr int64_t kCaptionTokens = 1024;

Result<WrittenText> Write(ChatModel& model, const ChatQuestion& question, const TryPolicy& tries) {
  LONGHAND_ASSIGN_OR_RETURN(ChatReply reply, AskPatiently(model, question, tries));
  return WrittenText{.text = std::move(reply.text),
                     .refusal = std::move(reply.refusal),
                     .finish_reason = std::move(reply.finish_reason),
                     .completion_tokens = reply.completion_tokens};
}

// The words that the server holds a text to; 0: none.
Result<int64_t> TargetOf(const DatasetRow& row, bool holds_length) {
  if (!holds_length) return int64_t{0};
  LONGHAND_ASSIGN_OR_RETURN(const double wanted, WantedWords(row));
  return std::max<int64_t>(std::llround(wanted), 1);
}

std::string PythonString(const std::string& text) {
  const bool has_single = text.find('\'') != std::string::npos;
  const char quote = has_single && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    switch (c) {
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (c == quote || c == '\\') out += '\\';
        out += c;
    }
  }
  return out + quote;
}

Result<boost::json::array> Captions(ChatModel& captioner,
                                    const DatasetRow& row,
                                    const TryPolicy& tries,
                                    const std::string& prompt) {
  boost::json::array captions;
  for (const Picture& picture : row.pictures) {
    const std::vector<Picture> one = {picture};
    SamplingOptions sampling;
    sampling.max_tokens = kCaptionTokens;
    LONGHAND_ASSIGN_OR_RETURN(const ChatReply reply,
                              AskPatiently(captioner, {prompt, &one, sampling}, tries));
    if (!reply.refusal.empty())
      return Aborted("the captioner refuses picture ", captions.size() + 1, ": ", reply.refusal);
    captions.push_back(boost::json::string(reply.text));
  }
  return captions;
}

}  // namespace

std::string PythonList(const boost::json::array& texts) {
  std::string out = "[";
  for (const boost::json::value& text : texts) {
    if (out.size() > 1) out += ", ";
    out += PythonString(std::string(text.get_string()));
  }
  return out + "]";
}

WayToWrite FromPictures(const SamplingOptions& sampling,
                        const TryPolicy& tries,
                        bool holds_length) {
  return [=](ChatModel& model, const DatasetRow& row,
             const std::string& question) -> Result<WrittenText> {
    LONGHAND_ASSIGN_OR_RETURN(const int64_t target, TargetOf(row, holds_length));
    return Write(model, {question, &row.pictures, sampling, target}, tries);
  };
}

WayToWrite AsDocument(const SamplingOptions& sampling, const TryPolicy& tries, bool holds_length) {
  return [=](ChatModel& model, const DatasetRow& row,
             const std::string& question) -> Result<WrittenText> {
    LONGHAND_ASSIGN_OR_RETURN(const int64_t target, TargetOf(row, holds_length));
    ChatQuestion asked{question, &row.pictures, sampling, target, /*wants_document=*/true};
    asked.sampling.max_tokens.reset();  // would be of one section
    return Write(model, asked, tries);
  };
}

WayToWrite FromCaptions(const SamplingOptions& sampling,
                        const TryPolicy& tries,
                        bool holds_length,
                        const ChatFactory& make_captioner,
                        const EvalTemplates& templates) {
  return [=](ChatModel& model, const DatasetRow& row,
             const std::string& question) -> Result<WrittenText> {
    const std::unique_ptr<ChatModel> captioner = make_captioner();
    LONGHAND_ASSIGN_OR_RETURN(boost::json::array captions,
                              Captions(*captioner, row, tries, templates.caption));
    const std::string prompt = FillTemplate(
        templates.caption_write, {{"$QUESTION$", question}, {"$CAPTIONS$", PythonList(captions)}});
    LONGHAND_ASSIGN_OR_RETURN(const int64_t target, TargetOf(row, holds_length));
    LONGHAND_ASSIGN_OR_RETURN(WrittenText written,
                              Write(model, {prompt, nullptr, sampling, target}, tries));
    written.captions = std::move(captions);
    return written;
  };
}

}  // namespace longhand::client
