// GrammarConstraint: the engine's TokenConstraint, by a compiled grammar; and the compiler, which
// knows the grammars that it compiled last.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "coordinator/engine/token_constraint.h"
#include "shim/grammar.h"
#include "shim/tokenizer.h"

namespace longhand::input {

// Engine thread.
class GrammarConstraint : public engine::TokenConstraint {
 public:
  GrammarConstraint(Result<shim::GrammarMatcher> matcher, int64_t vocab_size)
      : matcher_(std::move(matcher)), vocab_size_(vocab_size) {}

  Status Append(int32_t token_id) override;
  bool must_end() const override { return must_end_; }
  Result<Next> FindNext() override;

 private:
  Result<shim::GrammarMatcher> matcher_;
  const int64_t vocab_size_;
  bool must_end_ = false;
};

// Any thread.
class GrammarConstraintFactory : public engine::TokenConstraintFactory {
 public:
  GrammarConstraintFactory(shim::Grammar grammar, int64_t vocab_size)
      : grammar_(std::move(grammar)), vocab_size_(vocab_size) {}

  std::unique_ptr<engine::TokenConstraint> Create() const override;

 private:
  const shim::Grammar grammar_;
  const int64_t vocab_size_;
};

// What a grammar of kind kChoice is written as.
std::string ChoiceText(const std::vector<std::string>& texts);

// Any thread.
class ConstraintCompiler {
 public:
  // `tokenizer` must outlive this. `vocab_size`: of the model, which may have more ids.
  ConstraintCompiler(const shim::Tokenizer& tokenizer, int64_t vocab_size)
      : tokenizer_(tokenizer), vocab_size_(vocab_size) {}

  // Errors as GrammarCompiler::Compile.
  Result<std::shared_ptr<const engine::TokenConstraintFactory>> Compile(shim::GrammarKind kind,
                                                                        const std::string& text);

 private:
  using Key = std::pair<shim::GrammarKind, std::string>;
  struct Compiled {
    std::shared_ptr<const engine::TokenConstraintFactory> factory;
    std::list<const Key*>::iterator place;  // in by_use_
  };

  // Made when it is first needed: a vocabulary of 150,000 tokens takes half a second.
  Result<const shim::GrammarCompiler*> Compiler();
  std::shared_ptr<const engine::TokenConstraintFactory> Find(const Key& key);
  void Keep(Key key, std::shared_ptr<const engine::TokenConstraintFactory> factory);

  const shim::Tokenizer& tokenizer_;
  const int64_t vocab_size_;
  std::mutex compiler_mutex_;  // of what follows
  std::optional<shim::GrammarCompiler> compiler_;
  std::mutex mutex_;  // of what follows
  std::map<Key, Compiled> compiled_;
  std::list<const Key*> by_use_;  // the latest first
};

}  // namespace longhand::input
