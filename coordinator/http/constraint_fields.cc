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

// The fields that ask for a form, once for each.
using Asking = std::vector<std::string>;

// The five forms under vLLM's names, which may have a prefix.
void SetForms(RequestFields& fields,
              const std::string& prefix,
              v1::Constraint* out,
              Asking* asking) {
  const auto asks = [&](const char* name) {
    const bool asked = SaysSomething(fields.Find(prefix + name));
    if (asked) asking->push_back(prefix + name);
    return asked;
  };
  if (asks("json")) SetSchema(fields, prefix + "json", out);
  if (asks("regex")) out->set_regex(fields.String(prefix + "regex").value_or(""));
  if (asks("choice")) SetChoice(fields, prefix + "choice", out);
  if (asks("grammar")) out->set_grammar(fields.String(prefix + "grammar").value_or(""));
  if (asks("json_object")) out->set_json_object(fields.Bool(prefix + "json_object", false));
}

void SetStructuredOutputs(RequestFields& fields, v1::Constraint* out, Asking* asking) {
  const json::object* object = fields.Object("structured_outputs");
  if (object == nullptr) return;
  RequestFields inner(*object);
  for (const char* name : {"structural_tag", "whitespace_pattern", "disable_any_whitespace",
                           "disable_additional_properties"})
    inner.Refuse(name, "json, regex, choice, grammar and json_object are");
  Asking forms;
  SetForms(inner, "", out, &forms);
  asking->insert(asking->end(), forms.size(), "structured_outputs");
  if (!inner.status().ok())
    fields.Fail("structured_outputs", inner.status().WithContext("structured_outputs"));
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

void SetResponseFormat(RequestFields& fields, v1::Constraint* out, Asking* asking) {
  const json::object* format = fields.Object("response_format");
  if (format == nullptr) return;
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
  if (type != "text") asking->push_back("response_format");
}

}  // namespace

void ParseConstraint(RequestFields& fields, AnswerRequest* out) {
  v1::Constraint constraint;
  fields.Refuse("guided_whitespace_pattern", "JSON is in one line");
  fields.Refuse("structural_tag", "the whole answer has one form");
  Asking asking;
  SetResponseFormat(fields, &constraint, &asking);
  SetStructuredOutputs(fields, &constraint, &asking);
  SetForms(fields, "guided_", &constraint, &asking);
  if (asking.empty()) return;
  if (asking.size() > 1) {
    return fields.Fail("structured_outputs",
                       InvalidArgument("the request asks for ", asking.size(),
                                       " forms of the answer, in response_format, "
                                       "structured_outputs and guided_*; at most one is possible"));
  }
  out->constraint_field = asking.front();
  *out->wire.mutable_constraint() = std::move(constraint);
}

}  // namespace longhand::http
