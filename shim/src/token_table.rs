//! The bytes that each token id stands for: what streaming decoders append.

use std::collections::HashMap;

use tokenizers::Tokenizer;

use crate::error::{Error, Result};

pub const SPECIAL: u8 = 1; // dropped from answers: <|im_end|>
pub const ADDED: u8 = 2; // matched before the model sees the text; special or not: <tool_call>

// Far beyond every vocabulary; a wild id in a malformed file must not cost gigabytes.
const MAX_IDS: u32 = 1 << 22;

/// Bytes of id `i` are `bytes[offsets[i]..offsets[i + 1]]`; none where the vocabulary has a hole.
#[derive(Debug)]
pub struct TokenTable {
    pub bytes: Vec<u8>,
    pub offsets: Vec<u32>,
    pub flags: Vec<u8>,
}

impl TokenTable {
    /// `tokenizer` still holds its added tokens.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let vocab = tokenizer.get_vocab(true);
        let added = tokenizer.get_added_tokens_decoder();
        let num_ids = match vocab.values().max() {
            Some(id) if *id >= MAX_IDS => {
                return Err(Error::invalid(format!(
                    "a token has id {id}; ids must be below {MAX_IDS}"
                )))
            }
            Some(id) => *id as usize + 1,
            None => return Err(Error::invalid("the vocabulary is empty")),
        };
        let mut content: Vec<&str> = vec![""; num_ids];
        for (token, id) in &vocab {
            content[*id as usize] = token;
        }
        let byte_of = byte_level_alphabet();
        let mut table = Self {
            bytes: Vec::new(),
            offsets: vec![0],
            flags: vec![0; num_ids],
        };
        for (id, token) in content.into_iter().enumerate() {
            match added.get(&(id as u32)) {
                Some(token) => {
                    table.bytes.extend(token.content.as_bytes());
                    table.flags[id] = ADDED | if token.special { SPECIAL } else { 0 };
                }
                None => append_bytes(token, &byte_of, &mut table.bytes),
            }
            let end = u32::try_from(table.bytes.len())
                .map_err(|_| Error::invalid("the vocabulary holds over 4 GiB of text"))?;
            table.offsets.push(end);
        }
        Ok(table)
    }
}

/// A token with a character outside the alphabet stands for its own UTF-8, as in the reference.
fn append_bytes(token: &str, byte_of: &HashMap<char, u8>, out: &mut Vec<u8>) {
    let start = out.len();
    for c in token.chars() {
        match byte_of.get(&c) {
            Some(byte) => out.push(*byte),
            None => {
                out.truncate(start);
                out.extend(token.as_bytes());
                return;
            }
        }
    }
}

/// GPT-2's byte-level BPE writes printable bytes as themselves and the others from U+0100 on.
fn byte_level_alphabet() -> HashMap<char, u8> {
    let mut next = 0x100;
    (0..=255u8)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => (char::from(byte), byte),
            _ => {
                next += 1;
                (char::from_u32(next - 1).expect("below U+0200"), byte)
            }
        })
        .collect()
}
