// The form that answers are held to, as OpenAI's clients ask for it and as vLLM's do, old and new.
#include "coordinator/http/answer_request.h"

namespace longhand::http {
namespace {

namespace json = boost::json;

// Whether the client said anything: vLLM's clients send what they leave alone as empty.
bool SaysSomething(const json::value* value) {
  if (value == nullptr) return false;
  if (const auto* flag = value->if_bool()) return *flag;
  if (const auto* text = value->if_string()) return !text->empty();
  return true;
}

// A schema as JSON, or as a string that holds it.
void SetSchema(RequestFields& fields, std::string_view name, v1::Constraint* out) {
  const json::value* schema = fields.Find(name);
  if (schema->is_object()) {
    out->set_json_schema(json::serialize(*schema));
  } else if (schema->is_string()) {
    out->set_json_schema(std::string(schema->get_string()));
  } else {
    fields.Fail(name, "it must be a JSON schema, an object");
  }
}

void SetChoice(RequestFields& fields, std::string_view name, v1::Constraint* out) {
  const json::value* choice = fields.Find(name);
  if (!choice->is_array()) return fields.Fail(name, "it must be a list of strings");
  for (const json::value& text : choice->get_array()) {
    if (!text.is_string()) return fields.Fail(name, "it must hold strings only");
    out->mutable_choice()->add_texts(std::string(text.get_string()));
  }
  if (choice->get_array().empty()) fields.Fail(name, "it must have at least one string");
}

// The five forms under vLLM's names, which may have a prefix; returns how many are asked for.
int SetForms(RequestFields& fields, const std::string& prefix, v1::Constraint* out) {
  int num_forms = 0;
  const auto asks = [&](const char* name) {
    const bool asked = SaysSomething(fields.Find(prefix + name));
    num_forms += asked ? 1 : 0;
    return asked;
  };
  if (asks("json")) SetSchema(fields, prefix + "json", out);
  if (asks("regex")) out->set_regex(fields.String(prefix + "regex").value_or(""));
  if (asks("choice")) SetChoice(fields, prefix + "choice", out);
  if (asks("grammar")) out->set_grammar(fields.String(prefix + "grammar").value_or(""));
  if (asks("json_object")) out->set_json_object(fields.Bool(prefix + "json_object", false));
  return num_forms;
}

int SetStructuredOutputs(RequestFields& fields, v1::Constraint* out) {
  const json::object* object = fields.Object("structured_outputs");
  if (object == nullptr) return 0;
  RequestFields inner(*object);
  for (const char* name : {"structural_tag", "whitespace_pattern", "disable_any_whitespace",
                           "disable_additional_properties"})
    inner.Refuse(name, "json, regex, choice, grammar and json_object are");
  const int num_forms = SetForms(inner, "", out);
  if (!inner.status().ok())
    fields.Fail("structured_outputs", inner.status().WithContext("structured_outputs"));
  return num_forms;
}

// `strict` or not: a schema is kept, or refused.
void SetNamedSchema(RequestFields& fields, const json::object* named, v1::Constraint* out) {
  if (named == nullptr || !RequestFields(*named).Has("schema")) {
    return fields.Fail(
        "response_format",
        InvalidArgument("response_format.json_schema has no schema; it must be an object"));
  }
  RequestFields inner(*named);
  SetSchema(inner, "schema", out);
  if (!inner.status().ok()) fields.Fail("response_format", inner.status());
}

int SetResponseFormat(RequestFields& fields, v1::Constraint* out) {
  const json::object* format = fields.Object("response_format");
  if (format == nullptr) return 0;
  RequestFields inner(*format);
  const std::string type = inner.String("type").value_or("");
  if (type == "json_object") {
    out->set_json_object(true);
  } else if (type == "json_schema") {
    SetNamedSchema(fields, inner.Object("json_schema"), out);
  } else if (type != "text") {
    fields.Fail("response_format",
                InvalidArgument("response_format.type is '", type,
                                "'; it must be 'text', 'json_object' or 'json_schema'"));
  }
  return type == "text" ? 0 : 1;
}

std::string GuidedField(const v1::Constraint& constraint) {
  switch (constraint.form_case()) {
    case v1::Constraint::kJsonSchema:
      return "guided_json";
    case v1::Constraint::kRegex:
      return "guided_regex";
    case v1::Constraint::kChoice:
      return "guided_choice";
    case v1::Constraint::kGrammar:
      return "guided_grammar";
    case v1::Constraint::kJsonObject:
    case v1::Constraint::FORM_NOT_SET:
      break;
  }
  return "guided_json_object";
}

}  // namespace

void ParseConstraint(RequestFields& fields, AnswerRequest* out) {
  v1::Constraint constraint;
  fields.Refuse("guided_whitespace_pattern", "JSON is in one line");
  fields.Refuse("structural_tag", "the whole answer has one form");
  const int num_formats = SetResponseFormat(fields, &constraint);
  const int num_outputs = SetStructuredOutputs(fields, &constraint);
  const int num_forms = num_formats + num_outputs + SetForms(fields, "guided_", &constraint);
  if (num_forms == 0) return;
  if (num_forms > 1) {
    return fields.Fail("structured_outputs",
                       InvalidArgument("the request asks for ", num_forms,
                                       " forms of the answer, in response_format, "
                                       "structured_outputs and guided_*; at most one is possible"));
  }
  out->constraint_field = num_formats > 0   ? "response_format"
                          : num_outputs > 0 ? "structured_outputs"
                                            : GuidedField(constraint);
  *out->wire.mutable_constraint() = std::move(constraint);
}

}  // namespace longhand::http
