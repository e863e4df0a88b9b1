#include "coordinator/api/constraint_request.h"

#include "coordinator/input/grammar_constraint.h"

namespace longhand::api {

Result<std::shared_ptr<const engine::TokenConstraintFactory>> ParseConstraint(
    const v1::Constraint& constraint, const CompileConstraint& compile) {
  using Compiled = Result<std::shared_ptr<const engine::TokenConstraintFactory>>;
  const auto compiled = [&](const char* field, shim::GrammarKind kind,
                            const std::string& text) -> Compiled {
    Compiled result = compile(kind, text);
    if (result.ok()) return result;
    return result.status().WithContext(std::string("constraint.") + field).About("constraint");
  };
  switch (constraint.form_case()) {
    case v1::Constraint::kJsonSchema:
      return compiled("json_schema", shim::GrammarKind::kJsonSchema, constraint.json_schema());
    case v1::Constraint::kJsonObject:
      if (!constraint.json_object())
        return InvalidArgument("constraint.json_object is false; it must be true, or unset");
      return compiled("json_object", shim::GrammarKind::kJsonObject, "");
    case v1::Constraint::kRegex:
      return compiled("regex", shim::GrammarKind::kRegex, constraint.regex());
    case v1::Constraint::kChoice: {
      const auto& texts = constraint.choice().texts();
      return compiled("choice", shim::GrammarKind::kChoice,
                      input::ChoiceText({texts.begin(), texts.end()}));
    }
    case v1::Constraint::kGrammar:
      return compiled("grammar", shim::GrammarKind::kLark, constraint.grammar());
    case v1::Constraint::FORM_NOT_SET:
      break;
  }
  return std::shared_ptr<const engine::TokenConstraintFactory>();
}

}  // namespace longhand::api
