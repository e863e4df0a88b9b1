#include "coordinator/input/grammar_constraint.h"

#include <boost/json.hpp>

namespace longhand::input {
namespace {

// A large one takes some tens of megabytes, a usual one less than one.
constexpr size_t kMaxKept = 32;

}  // namespace

Status GrammarConstraint::Append(int32_t token_id) {
  LONGHAND_RETURN_IF_ERROR(matcher_.status());
  LONGHAND_RETURN_IF_ERROR(matcher_->Append(token_id));
  LONGHAND_ASSIGN_OR_RETURN(const shim::GrammarMatcher::End end, matcher_->AtEnd());
  must_end_ = end.must_end;
  return OkStatus();
}

Result<engine::TokenConstraint::Next> GrammarConstraint::FindNext() {
  LONGHAND_RETURN_IF_ERROR(matcher_.status());
  Next next;
  next.allowed.resize(static_cast<size_t>((vocab_size_ + 31) / 32));
  LONGHAND_RETURN_IF_ERROR(matcher_->Allowed(next.allowed));
  LONGHAND_ASSIGN_OR_RETURN(const shim::GrammarMatcher::End end, matcher_->AtEnd());
  next.may_end = end.is_complete;
  return next;
}

std::unique_ptr<engine::TokenConstraint> GrammarConstraintFactory::Create() const {
  return std::make_unique<GrammarConstraint>(grammar_.CreateMatcher(), vocab_size_);
}

std::string ChoiceText(const std::vector<std::string>& texts) {
  return boost::json::serialize(boost::json::array(texts.begin(), texts.end()));
}

Result<std::shared_ptr<const engine::TokenConstraintFactory>> ConstraintCompiler::Compile(
    shim::GrammarKind kind, const std::string& text) {
  Key key(kind, text);
  if (auto known = Find(key)) return known;
  LONGHAND_ASSIGN_OR_RETURN(const shim::GrammarCompiler* compiler, Compiler());
  LONGHAND_ASSIGN_OR_RETURN(shim::Grammar grammar, compiler->Compile(kind, text));
  std::shared_ptr<const engine::TokenConstraintFactory> factory =
      std::make_shared<const GrammarConstraintFactory>(std::move(grammar), vocab_size_);
  Keep(std::move(key), factory);
  return factory;
}

Result<const shim::GrammarCompiler*> ConstraintCompiler::Compiler() {
  const std::lock_guard lock(compiler_mutex_);
  if (!compiler_.has_value()) {
    LONGHAND_ASSIGN_OR_RETURN(shim::GrammarCompiler compiler,
                              shim::GrammarCompiler::Create(tokenizer_));
    compiler_.emplace(std::move(compiler));
  }
  return &*compiler_;
}

std::shared_ptr<const engine::TokenConstraintFactory> ConstraintCompiler::Find(const Key& key) {
  const std::lock_guard lock(mutex_);
  const auto found = compiled_.find(key);
  if (found == compiled_.end()) return nullptr;
  by_use_.splice(by_use_.begin(), by_use_, found->second.place);
  return found->second.factory;
}

void ConstraintCompiler::Keep(Key key,
                              std::shared_ptr<const engine::TokenConstraintFactory> factory) {
  const std::lock_guard lock(mutex_);
  const auto [it, is_new] = compiled_.try_emplace(std::move(key), Compiled{std::move(factory), {}});
  if (!is_new) return;  // Two compiled the same at once.
  it->second.place = by_use_.insert(by_use_.begin(), &it->first);
  if (by_use_.size() <= kMaxKept) return;
  const auto oldest = compiled_.find(*by_use_.back());
  by_use_.pop_back();
  compiled_.erase(oldest);
}

}  // namespace longhand::input
