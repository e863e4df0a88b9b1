//! A checkpoint's chat template, run within limits: messages to the text of a prompt.

use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::ffi::ByteRange;
use crate::marked_text::Marks;

// A message costs a few dozen instructions, a byte of text about 1/64 of one per copy. Fuel bounds
// memory as well: 64 bytes a unit.
const BASE_FUEL: u64 = 2_000_000;
const BASE_OUTPUT_BYTES: usize = 1 << 20;
const MAX_RECURSION: usize = 200;
const NAME: &str = "chat_template";

/// Immutable; safe to share between threads.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    /// bos_token, eos_token and the like, which some templates print.
    special_tokens: Map<String, Value>,
}

#[derive(Debug)]
pub struct Rendered {
    pub text: String,
    /// Where the request's own text is in `text`; None when the template changed that text on the
    /// way, so that it cannot be told from the template's.
    pub literal: Option<Vec<ByteRange>>,
}

impl ChatTemplate {
    /// From the contents of the checkpoint's files, each may be absent. chat_template.json wins over
    /// chat_template.jinja, which wins over `chat_template` in tokenizer_config.json.
    pub fn load(
        jinja: Option<&[u8]>,
        template_json: Option<&[u8]>,
        config_json: Option<&[u8]>,
    ) -> Result<Self> {
        let config = config_json.map_or(Ok(Map::new()), |json| {
            parse_object("tokenizer_config.json", json)
        })?;
        let (file, source) = if let Some(json) = template_json {
            let file = parse_object("chat_template.json", json)?;
            (
                "chat_template.json",
                template_of("chat_template.json", &file)?,
            )
        } else if let Some(jinja) = jinja {
            let text = std::str::from_utf8(jinja)
                .map_err(|error| Error::invalid(format!("chat_template.jinja: {error}")))?;
            ("chat_template.jinja", text.to_owned())
        } else {
            (
                "tokenizer_config.json",
                template_of("tokenizer_config.json", &config)?,
            )
        };
        let mut environment = new_environment();
        environment
            .add_template_owned(NAME, source.clone())
            .map_err(|error| Error::invalid(format!("{file}: {}", describe(&error))))?;
        Ok(Self {
            environment,
            source,
            special_tokens: special_tokens(&config),
        })
    }

    /// `input` is a JSON object with `messages` and the template's other variables.
    pub fn render(&self, input: &[u8]) -> Result<Rendered> {
        let mut variables = self.special_tokens.clone();
        variables.extend(parse_object("chat template input", input)?);
        let text = self.run(&variables, input.len())?;
        let messages = variables.get("messages").cloned().unwrap_or_default();
        let Some(marks) = Marks::absent_from(&messages, &self.source) else {
            return Ok(Rendered {
                text,
                literal: None,
            });
        };
        variables.insert("messages".to_owned(), marks.mark(&messages));
        // A template that refuses the marked messages, or prints something else, looked into the text.
        let literal = self
            .run(&variables, input.len())
            .ok()
            .and_then(|marked| marks.unmark(&marked))
            .filter(|(unmarked, _)| *unmarked == text)
            .map(|(_, ranges)| ranges);
        Ok(Rendered { text, literal })
    }

    fn run(&self, variables: &Map<String, Value>, input_bytes: usize) -> Result<String> {
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(BASE_FUEL + input_bytes as u64));
        let template = environment.get_template(NAME).expect("added when loaded");
        let limit = BASE_OUTPUT_BYTES + 8 * input_bytes;
        let mut out = LimitedWriter {
            bytes: Vec::new(),
            limit,
        };
        template
            .render_captured_to(Serde(variables), &mut out)
            .map_err(|error| match error.kind() {
                ErrorKind::OutOfFuel => Error::exhausted(format!(
                    "chat template: needs over {} steps for these messages",
                    BASE_FUEL + input_bytes as u64
                )),
                ErrorKind::WriteFailure => Error::exhausted(format!(
                    "chat template: writes over {limit} bytes for messages of {input_bytes} bytes"
                )),
                _ => Error::invalid(format!("chat template: {}", describe(&error))),
            })?;
        String::from_utf8(out.bytes)
            .map_err(|error| Error::internal(format!("chat template: {error}")))
    }
}

/// As the reference sets Jinja up for chat templates.
fn new_environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .expect("default delimiters"),
    );
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function(
        "raise_exception",
        |message: String| -> std::result::Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment
}

fn parse_object(file: &str, json: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(json).map_err(|error| Error::invalid(format!("{file}: {error}")))
}

/// `chat_template` is a text, or a list of named ones of which "default" counts.
fn template_of(file: &str, object: &Map<String, Value>) -> Result<String> {
    match object.get("chat_template") {
        Some(Value::String(source)) => Ok(source.clone()),
        Some(Value::Array(named)) => named
            .iter()
            .find(|entry| entry["name"] == "default")
            .and_then(|entry| entry["template"].as_str())
            .map(str::to_owned)
            .ok_or_else(|| Error::invalid(format!("{file}: chat_template lists {} templates, none named \"default\"", named.len()))),
        Some(_) => Err(Error::invalid(format!("{file}: chat_template is neither a text nor a list"))),
        None => Err(Error::invalid(format!(
            "{file}: has no chat_template, and there is no chat_template.jinja or chat_template.json"
        ))),
    }
}

/// Entries such as "eos_token": "<|im_end|>" or "eos_token": {"content": "<|im_end|>", ...}.
fn special_tokens(config: &Map<String, Value>) -> Map<String, Value> {
    let content = |value: &Value| match value {
        Value::String(_) => Some(value.clone()),
        Value::Object(fields) => fields
            .get("content")
            .filter(|content| content.is_string())
            .cloned(),
        _ => None,
    };
    config
        .iter()
        .filter(|(key, _)| key.ends_with("_token"))
        .filter_map(|(key, value)| Some((key.clone(), content(value)?)))
        .collect()
}

/// The whole chain in one line: the first link often says only "could not render".
fn describe(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

struct LimitedWriter {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for LimitedWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + data.len() > self.limit {
            return Err(io::Error::other("output limit"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
