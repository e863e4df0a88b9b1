// Ways to have a benchmark's text written.
#pragma once

#include <boost/json.hpp>
#include <functional>
#include <string>

#include "client/chat/chat_options.h"
#include "client/dataset/dataset.h"
#include "client/eval/templates.h"

namespace longhand::client {

struct WrittenText {
  std::string text;
  std::string refusal;  // of the model; then there is no text
  std::string finish_reason;
  int64_t completion_tokens = 0;
  boost::json::array captions;  // that it was written from
};

// Writes what `question` asks for about the row's pictures. Any thread; the model is the thread's.
using WayToWrite = std::function<Result<WrittenText>(
    ChatModel& model, const DatasetRow& row, const std::string& question)>;

// The question and the pictures, in one message. `holds_length`: the server holds the text to the
// row's L.
WayToWrite FromPictures(const SamplingOptions& sampling, const TryPolicy& tries, bool holds_length);
// Our server plans the text and writes it section by section.
WayToWrite AsDocument(const SamplingOptions& sampling, const TryPolicy& tries, bool holds_length);
// A caption of each picture by another model, then the question and the captions without a picture.
WayToWrite FromCaptions(const SamplingOptions& sampling,
                        const TryPolicy& tries,
                        bool holds_length,
                        const ChatFactory& make_captioner,
                        const EvalTemplates& templates);

// As Python prints a list of these: ['one', "it's"].
std::string PythonList(const boost::json::array& texts);

}  // namespace longhand::client
