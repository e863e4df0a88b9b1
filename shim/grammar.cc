#include "shim/grammar.h"

namespace longhand::shim {

Status GrammarMatcher::Append(int32_t token_id) {
  longhand_shim_bytes error{};
  const int code =
      longhand_shim_grammar_matcher_append(handle_.get(), static_cast<uint32_t>(token_id), &error);
  return TakeStatus(code, error);
}

Status GrammarMatcher::Allowed(std::span<uint32_t> mask) {
  longhand_shim_bytes error{};
  const int code =
      longhand_shim_grammar_matcher_allowed(handle_.get(), mask.data(), mask.size(), &error);
  return TakeStatus(code, error);
}

Result<GrammarMatcher::End> GrammarMatcher::AtEnd() {
  int is_complete = 0;
  int must_end = 0;
  longhand_shim_bytes error{};
  const int code =
      longhand_shim_grammar_matcher_end(handle_.get(), &is_complete, &must_end, &error);
  LONGHAND_RETURN_IF_ERROR(TakeStatus(code, error));
  return End{is_complete != 0, must_end != 0};
}

Result<GrammarMatcher> Grammar::CreateMatcher() const {
  longhand_shim_grammar_matcher* matcher = nullptr;
  longhand_shim_bytes error{};
  const int code = longhand_shim_grammar_matcher_new(handle_.get(), &matcher, &error);
  LONGHAND_RETURN_IF_ERROR(TakeStatus(code, error));
  return GrammarMatcher(GrammarMatcher::Handle(matcher));
}

Result<GrammarCompiler> GrammarCompiler::Create(const Tokenizer& tokenizer) {
  longhand_shim_grammar_compiler* compiler = nullptr;
  longhand_shim_bytes error{};
  const int code = longhand_shim_grammar_compiler_new(tokenizer.handle(), &compiler, &error);
  LONGHAND_RETURN_IF_ERROR(TakeStatus(code, error));
  return GrammarCompiler(Handle(compiler));
}

Result<Grammar> GrammarCompiler::Compile(GrammarKind kind, std::string_view text) const {
  longhand_shim_grammar* grammar = nullptr;
  longhand_shim_bytes error{};
  const int code = longhand_shim_grammar_compile(handle_.get(), static_cast<int>(kind),
                                                 Borrow(text), &grammar, &error);
  LONGHAND_RETURN_IF_ERROR(TakeStatus(code, error));
  return Grammar(Grammar::Handle(grammar));
}

}  // namespace longhand::shim
