// Grammars that hold an answer to a form: JSON of a schema, a regular expression, one of several
// texts, a grammar of Lark's. By `llguidance`.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "common/status.h"
#include "shim/handle.h"
#include "shim/longhand_shim.h"
#include "shim/tokenizer.h"

namespace longhand::shim {

enum class GrammarKind {
  kJsonSchema = LONGHAND_SHIM_JSON_SCHEMA,
  kJsonObject = LONGHAND_SHIM_JSON_OBJECT,  // any; the text is not looked at
  kRegex = LONGHAND_SHIM_REGEX,             // of the whole answer
  kChoice = LONGHAND_SHIM_CHOICE,           // a JSON array of strings
  kLark = LONGHAND_SHIM_LARK,
};

// One answer's place in its grammar: a function of the tokens appended. One thread at a time.
class GrammarMatcher {
 public:
  struct End {
    bool is_complete = false;  // the text so far may be the whole answer
    bool must_end = false;     // nothing may follow it
  };

  // kInvalidArgument for a token that may not follow. After an error of any call the matcher is of
  // no use.
  Status Append(int32_t token_id);
  // Writes which tokens may follow: bit `id % 32` of mask[id / 32], for the ids that have a word.
  // Special tokens never may. kInvalidArgument when that would take too long.
  Status Allowed(std::span<uint32_t> mask);
  Result<End> AtEnd();

 private:
  friend class Grammar;
  using Handle =
      std::unique_ptr<longhand_shim_grammar_matcher, Free<longhand_shim_grammar_matcher_free>>;
  explicit GrammarMatcher(Handle handle) : handle_(std::move(handle)) {}

  Handle handle_;
};

// Immutable; any number of threads may use one at once.
class Grammar {
 public:
  Result<GrammarMatcher> CreateMatcher() const;

 private:
  friend class GrammarCompiler;
  using Handle = std::unique_ptr<longhand_shim_grammar, Free<longhand_shim_grammar_free>>;
  explicit Grammar(Handle handle) : handle_(std::move(handle)) {}

  Handle handle_;
};

// Immutable; any number of threads may use one at once.
class GrammarCompiler {
 public:
  static Result<GrammarCompiler> Create(const Tokenizer& tokenizer);

  // kInvalidArgument with the fault, or the bound that is passed: of size, of depth, of states, of
  // steps.
  Result<Grammar> Compile(GrammarKind kind, std::string_view text) const;

 private:
  using Handle =
      std::unique_ptr<longhand_shim_grammar_compiler, Free<longhand_shim_grammar_compiler_free>>;
  explicit GrammarCompiler(Handle handle) : handle_(std::move(handle)) {}

  Handle handle_;
};

}  // namespace longhand::shim
