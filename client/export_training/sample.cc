#include "client/export_training/sample.h"

#include <algorithm>
#include <cctype>

namespace longhand::client {
namespace {

// The length of the mark that `text` begins with; 0 where there is none.
size_t MarkLength(std::string_view text) {
  for (const std::string_view mark : {"<image>", "<video>", "<audio>"})
    if (text.starts_with(mark)) return mark.size();
  if (!text.starts_with("<|")) return 0;
  size_t end = 2;
  while (end < text.size() &&
         (std::isalnum(static_cast<unsigned char>(text[end])) != 0 || text[end] == '_'))
    ++end;
  return end > 2 && text.substr(end).starts_with("|>") ? end + 2 : 0;
}

int64_t CountMarks(std::string_view text) {
  int64_t count = 0;
  for (size_t at = 0; (at = text.find(kImageMark, at)) != std::string_view::npos;
       at += kImageMark.size())
    ++count;
  return count;
}

// Neutral, but for the picture marks.
std::string NeutralAroundMarks(std::string_view text, int64_t* count) {
  std::string out;
  for (size_t at; (at = text.find(kImageMark)) != std::string_view::npos;) {
    out += Neutral(text.substr(0, at), count);
    out += kImageMark;
    text.remove_prefix(at + kImageMark.size());
  }
  return out + Neutral(text, count);
}

Status CheckTurns(const Sample& sample) {
  const std::vector<Turn>& turns = sample.turns;
  if (turns.empty()) return InvalidArgument("it has no messages");
  for (size_t i = 0; i < turns.size(); ++i) {
    if (turns[i].is_user != (i % 2 == 0))
      return InvalidArgument("message ", i + 1, " is the ", turns[i].is_user ? "user" : "assistant",
                             "'s; they must be the user's and the assistant's in turn");
    if (turns[i].text.empty()) return InvalidArgument("message ", i + 1, " is empty");
  }
  if (sample.is_pair() && (sample.chosen.empty() || sample.rejected.empty()))
    return InvalidArgument("one of the two answers is empty");
  if (turns.back().is_user != sample.is_pair())
    return InvalidArgument("its last message is the ",
                           turns.back().is_user ? "user's, without an answer" : "assistant's");
  return OkStatus();
}

}  // namespace

std::string Neutral(std::string_view text, int64_t* count) {
  std::string out;
  for (size_t at; (at = text.find('<')) != std::string_view::npos;) {
    out += text.substr(0, at);
    text.remove_prefix(at);
    const size_t length = MarkLength(text);
    if (length == 0) {
      out += '<';
      text.remove_prefix(1);
      continue;
    }
    const size_t edge = text[1] == '|' ? 2 : 1;
    out += '[';
    out += text.substr(edge, length - 2 * edge);
    out += ']';
    text.remove_prefix(length);
    ++*count;
  }
  out += text;
  return out;
}

Status Prepare(Sample& sample, bool pictures_first, int64_t* num_neutral) {
  LONGHAND_RETURN_IF_ERROR(CheckTurns(sample));
  const auto num_pictures = static_cast<int64_t>(sample.pictures.size());
  int64_t num_marks = 0;
  for (const Turn& turn : sample.turns) num_marks += turn.is_user ? CountMarks(turn.text) : 0;
  const bool has_marks = num_pictures > 0 && num_marks == num_pictures;
  for (Turn& turn : sample.turns)
    turn.text = turn.is_user && has_marks ? NeutralAroundMarks(turn.text, num_neutral)
                                          : Neutral(turn.text, num_neutral);
  sample.chosen = Neutral(sample.chosen, num_neutral);
  sample.rejected = Neutral(sample.rejected, num_neutral);
  if (has_marks) return OkStatus();
  std::string marks;
  for (int64_t i = 0; i < num_pictures; ++i) marks += kImageMark;
  std::string& first = sample.turns.front().text;
  first = pictures_first ? marks + first : first + marks;
  return OkStatus();
}

}  // namespace longhand::client
