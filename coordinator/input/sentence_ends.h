// SentenceEnds: where sentences and paragraphs of a growing text end.
#pragma once

namespace longhand::input {

// What lies between the character before and this one.
enum class TextBreak { kNone, kWord, kSentence, kParagraph };

// A sentence ends after . ! ? or … with white space behind it, and after 。 ！ or ？; closing
// quotes, brackets and marks of emphasis in between belong to it. A paragraph is a sentence with a
// new line behind it. Words lie apart where white space begins and around characters of Chinese.
// That an abbreviation looks like the end of a sentence is not known here.
class SentenceEnds {
 public:
  // Takes the next character of the text.
  TextBreak Next(char32_t c);

 private:
  // What the text so far ends with, closers aside.
  enum class Tail { kNothing, kSpace, kWord, kHan, kFullStop, kHanFullStop };

  Tail tail_ = Tail::kNothing;
};

}  // namespace longhand::input
