//! What a client may ask an answer to be, as the grammar library's input. Sizes and depths are
//! checked here, before a compiler sees them.

use llguidance::api::TopLevelGrammar;
use serde_json::{json, Map, Value};

use crate::error::{Error, Result};

pub const JSON_SCHEMA: i32 = 1;
pub const JSON_OBJECT: i32 = 2;
pub const REGEX: i32 = 3;
pub const CHOICE: i32 = 4; // a JSON array of strings
pub const LARK: i32 = 5;

const MAX_BYTES: usize = 128 << 10;
const MAX_REGEX_BYTES: usize = 16 << 10;
const MAX_CHOICES: usize = 1_024;
const MAX_DEPTH: usize = 64;
/// JSON in one line, as Python writes it: a model that is at a loss would write white space for ever.
const ITEM_SEPARATOR: &str = ", ";
const KEY_SEPARATOR: &str = ": ";

pub fn grammar_of(kind: i32, text: &str) -> Result<TopLevelGrammar> {
    if text.len() > MAX_BYTES {
        return Err(too_long("the grammar", text.len(), MAX_BYTES));
    }
    match kind {
        JSON_SCHEMA => of_schema(parse_json("the JSON schema", text)?),
        JSON_OBJECT => of_schema(json!({"type": "object"})),
        REGEX => of_regex(text),
        CHOICE => of_choices(&parse_json("the choice", text)?),
        LARK => of_lark(text),
        _ => Err(Error::internal(format!("no grammar is of kind {kind}"))),
    }
}

fn too_long(what: &str, num_bytes: usize, max_bytes: usize) -> Error {
    Error::invalid(format!(
        "{what} has {num_bytes} bytes; at most {max_bytes} are allowed"
    ))
}

fn parse_json(what: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::invalid(format!("{what}: {error}")))
}

fn of_schema(schema: Value) -> Result<TopLevelGrammar> {
    let Value::Object(mut schema) = schema else {
        return Err(Error::invalid(
            "a JSON schema is an object; another value was given",
        ));
    };
    check_schema_depth(&Value::Object(schema.clone()))?;
    let mut options = Map::new();
    options.insert("whitespace_flexible".into(), false.into());
    options.insert("item_separator".into(), ITEM_SEPARATOR.into());
    options.insert("key_separator".into(), KEY_SEPARATOR.into());
    schema.insert("x-guidance".into(), Value::Object(options));
    Ok(TopLevelGrammar::from_json_schema(Value::Object(schema)))
}

fn check_schema_depth(schema: &Value) -> Result<()> {
    let depth = depth_of(schema);
    if depth > MAX_DEPTH {
        return Err(Error::invalid(format!(
            "the JSON schema nests {depth} deep; at most {MAX_DEPTH} is allowed"
        )));
    }
    Ok(())
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

fn of_regex(text: &str) -> Result<TopLevelGrammar> {
    if text.len() > MAX_REGEX_BYTES {
        return Err(too_long("the regex", text.len(), MAX_REGEX_BYTES));
    }
    check_brackets("the regex", text)?;
    // The whole answer is matched anyway.
    let text = text.strip_prefix('^').unwrap_or(text);
    let text = match text.strip_suffix('$') {
        Some(before) if !ends_in_escape(before) => before,
        _ => text,
    };
    if text.is_empty() {
        return Err(Error::invalid("the regex is empty"));
    }
    Ok(TopLevelGrammar::from_regex(text))
}

fn ends_in_escape(text: &str) -> bool {
    text.len() % 2 != text.trim_end_matches('\\').len() % 2
}

fn of_choices(choices: &Value) -> Result<TopLevelGrammar> {
    let choices = choices
        .as_array()
        .ok_or_else(|| Error::invalid("choice is a list of strings; another value was given"))?;
    if choices.is_empty() || choices.len() > MAX_CHOICES {
        return Err(Error::invalid(format!(
            "choice has {} strings; 1 to {MAX_CHOICES} are allowed",
            choices.len()
        )));
    }
    let mut literals = Vec::with_capacity(choices.len());
    for choice in choices {
        match choice.as_str() {
            Some("") | None => {
                return Err(Error::invalid(
                    "a choice is empty or no string; it needs text",
                ))
            }
            Some(text) => literals.push(literal(text)),
        }
    }
    Ok(TopLevelGrammar::from_lark(format!(
        "start: {}\n",
        literals.join(" | ")
    )))
}

/// A string of Lark, whose escapes are those of JSON.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

fn of_lark(text: &str) -> Result<TopLevelGrammar> {
    check_brackets("the grammar", text)?;
    if text.trim_start().starts_with('{') {
        return Err(Error::invalid(
            "the grammar is JSON; it has to be in Lark's form",
        ));
    }
    Ok(TopLevelGrammar::from_lark(text.to_string()))
}

/// Parsers of expressions recurse on brackets; one in a literal counts as well.
fn check_brackets(what: &str, text: &str) -> Result<()> {
    let mut depth = 0usize;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth > MAX_DEPTH {
            return Err(Error::invalid(format!(
                "{what} nests brackets over {MAX_DEPTH} deep; at most {MAX_DEPTH} is allowed"
            )));
        }
    }
    Ok(())
}
