//! Finds a request's own text again in what a template made of it.
//!
//! Two private-use characters that occur nowhere in the input are put round each text before the
//! template runs, and taken out of its output; what lay between them is the request's.

use std::collections::HashSet;

use serde_json::Value;

use crate::ffi::ByteRange;

/// Supplementary private use area B: never assigned, never changed by a normaliser.
const CANDIDATES: std::ops::RangeInclusive<char> = '\u{100000}'..='\u{10FFFD}';

pub struct Marks {
    open: char,
    close: char,
}

impl Marks {
    /// None when the input uses up the whole private-use area.
    pub fn absent_from(messages: &Value, template: &str) -> Option<Self> {
        let mut used: HashSet<char> = private_use(template).collect();
        collect(messages, &mut used);
        let mut free = CANDIDATES.filter(|c| !used.contains(c));
        Some(Self {
            open: free.next()?,
            close: free.next()?,
        })
    }

    /// The same messages with every text marked: all strings but roles and part types, which
    /// templates compare. White space at the ends stays outside, so that `|trim` still sees it.
    pub fn mark(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.mark_text(text)),
            Value::Array(items) => items.iter().map(|item| self.mark(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(key, field)| match (key.as_str(), field) {
                    ("role" | "type", Value::String(_)) => (key.clone(), field.clone()),
                    _ => (key.clone(), self.mark(field)),
                })
                .collect(),
            _ => value.clone(),
        }
    }

    fn mark_text(&self, text: &str) -> String {
        let core = text.trim_matches(is_space);
        if core.is_empty() {
            return text.to_owned();
        }
        let begin = core.as_ptr() as usize - text.as_ptr() as usize;
        let (head, tail) = (&text[..begin], &text[begin + core.len()..]);
        format!("{head}{}{core}{}{tail}", self.open, self.close)
    }

    /// Takes the marks out. None when they do not alternate: the template cut or copied inside a text.
    pub fn unmark(&self, rendered: &str) -> Option<(String, Vec<ByteRange>)> {
        let mut text = String::with_capacity(rendered.len());
        let mut ranges: Vec<ByteRange> = Vec::new();
        let mut begin = None;
        for piece in rendered.split_inclusive([self.open, self.close]) {
            let mark = piece.chars().next_back();
            match (mark, begin) {
                (Some(c), None) if c == self.open => {
                    text.push_str(&piece[..piece.len() - c.len_utf8()]);
                    begin = Some(text.len());
                }
                (Some(c), Some(start)) if c == self.close => {
                    text.push_str(&piece[..piece.len() - c.len_utf8()]);
                    ranges.push(ByteRange {
                        begin: start,
                        end: text.len(),
                    });
                    begin = None;
                }
                (Some(c), _) if c == self.open || c == self.close => return None,
                _ => text.push_str(piece),
            }
        }
        begin.is_none().then_some((text, ranges))
    }
}

/// What Python's `str.strip` and Rust's `trim` take away, together.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c)
}

fn private_use(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter(|c| CANDIDATES.contains(c))
}

fn collect(value: &Value, used: &mut HashSet<char>) {
    match value {
        Value::String(text) => used.extend(private_use(text)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, used)),
        Value::Object(fields) => fields.iter().for_each(|(key, field)| {
            used.extend(private_use(key));
            collect(field, used);
        }),
        _ => {}
    }
}
