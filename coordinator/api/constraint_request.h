// The form that a request's answers are held to, checked and compiled.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/status.h"
#include "coordinator/engine/token_constraint.h"
#include "longhand/v1/generation.pb.h"
#include "shim/grammar.h"

namespace longhand::api {

// Thread-safe. kInvalidArgument with the form's fault.
using CompileConstraint =
    std::function<Result<std::shared_ptr<const engine::TokenConstraintFactory>>(
        shim::GrammarKind kind, const std::string& text)>;

// Null without a form. kInvalidArgument naming the field.
Result<std::shared_ptr<const engine::TokenConstraintFactory>> ParseConstraint(
    const v1::Constraint& constraint, const CompileConstraint& compile);

}  // namespace longhand::api
