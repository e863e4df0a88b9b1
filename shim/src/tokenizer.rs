//! Text to token ids, with control tokens only where the caller allows them.

use serde::de::DeserializeOwned;
use serde::Deserialize;
use serde_json::Value;
use tokenizers::{
    AddedToken, AddedVocabulary, DecoderWrapper, ModelWrapper, NormalizerWrapper,
    OffsetReferential, OffsetType, PostProcessor, PostProcessorWrapper, PreTokenizer,
    PreTokenizerWrapper,
};

use crate::error::{Error, Result};
use crate::ffi::ByteRange;
use crate::token_table::TokenTable;

/// Immutable after `load`; safe to share between threads (the model's cache is per thread).
pub struct Tokenizer {
    /// Without added tokens: what it encodes is text and nothing else.
    plain: tokenizers::Tokenizer,
    added: AddedVocabulary,
    pub table: TokenTable,
}

#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<AddedTokenWithId>,
}

#[derive(Deserialize)]
struct AddedTokenWithId {
    id: u32,
    content: String,
}

#[derive(Default, Deserialize)]
struct ConfigFile {
    #[serde(default)]
    added_tokens_decoder: std::collections::BTreeMap<u32, AddedToken>,
}

impl Tokenizer {
    /// From the contents of tokenizer.json and, where it exists, tokenizer_config.json, whose
    /// `added_tokens_decoder` may name tokens that the first leaves out.
    pub fn load(tokenizer_json: &[u8], config_json: Option<&[u8]>) -> Result<Self> {
        let in_tokenizer = |message: String| Error::invalid(format!("tokenizer.json: {message}"));
        let mut plain = tokenizers::Tokenizer::from_bytes(tokenizer_json)
            .map_err(|error| in_tokenizer(explain(tokenizer_json, &error.to_string())))?;
        check_supported(&plain)?;
        let file: TokenizerFile = serde_json::from_slice(tokenizer_json)
            .map_err(|error| in_tokenizer(error.to_string()))?;
        for token in &file.added_tokens {
            check_id(&plain, &token.content, token.id).map_err(in_tokenizer)?;
        }
        if let Some(config_json) = config_json {
            let in_config =
                |message: String| Error::invalid(format!("tokenizer_config.json: {message}"));
            let config: ConfigFile = serde_json::from_slice(config_json)
                .map_err(|error| in_config(error.to_string()))?;
            for (id, token) in config.added_tokens_decoder {
                let content = token.content.clone();
                if !plain
                    .get_added_vocabulary()
                    .get_vocab()
                    .contains_key(&content)
                {
                    plain
                        .add_tokens([token])
                        .map_err(|error| in_config(error.to_string()))?;
                }
                check_id(&plain, &content, id).map_err(in_config)?;
            }
        }
        let table = TokenTable::new(&plain).map_err(|error| in_tokenizer(error.message))?;
        let added = plain.get_added_vocabulary().clone();
        plain.with_added_vocabulary(AddedVocabulary::new());
        // Cutting and filling are the caller's business: a prompt that is too long is refused.
        plain.with_padding(None);
        plain
            .with_truncation(None)
            .map_err(|error| in_tokenizer(error.to_string()))?;
        Ok(Self {
            plain,
            added,
            table,
        })
    }

    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.added.token_to_id(token, self.plain.get_model())
    }

    /// Every added token in `text` is parsed, as the reference does.
    pub fn encode_with_control_tokens(&self, text: &str) -> Result<Vec<u32>> {
        let mut pieces = self
            .added
            .extract_and_normalize(self.plain.get_normalizer(), text);
        if let Some(pre_tokenizer) = self.plain.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces).map_err(failed)?;
        }
        let model = self.plain.get_model();
        pieces
            .tokenize(|piece| tokenizers::Model::tokenize(model, piece.get()))
            .map_err(failed)?;
        let encoding = pieces
            .into_encoding(None, 0, OffsetType::None)
            .map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self
            .plain
            .encode_fast(text, false)
            .map_err(failed)?
            .get_ids()
            .to_vec())
    }

    /// Added tokens are parsed only where they lie wholly between two `literal` ranges; a range of
    /// length 0 is a seam that no added token spans. Between two parsed tokens the text is encoded as
    /// one, literal and not, so that ordinary text gets the ids it gets in the reference.
    ///
    /// `literal` is sorted, without overlaps, on character boundaries.
    pub fn encode_around(&self, text: &str, literal: &[ByteRange]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let mut encoded = 0; // bytes of `text` done
        let mut open = 0; // start of the stretch that may hold control tokens
        let end = ByteRange {
            begin: text.len(),
            end: text.len(),
        };
        for range in literal.iter().chain(std::iter::once(&end)) {
            let stretch = text
                .get(open..range.begin)
                .filter(|_| text.is_char_boundary(range.end) && range.end >= range.begin)
                .ok_or_else(|| Error::invalid(format!(
                    "literal range [{}, {}) overlaps another, cuts a character, or ends past the text of {} bytes",
                    range.begin, range.end, text.len()
                )))?;
            for (id, found) in self.find_control_tokens(stretch) {
                ids.extend(self.encode_plain(&text[encoded..open + found.begin])?);
                ids.push(id);
                encoded = open + found.end;
            }
            open = range.end;
        }
        ids.extend(self.encode_plain(&text[encoded..])?);
        Ok(ids)
    }

    fn find_control_tokens(&self, text: &str) -> Vec<(u32, ByteRange)> {
        let pieces = self
            .added
            .extract_and_normalize::<NormalizerWrapper>(None, text);
        pieces
            .get_splits(OffsetReferential::Original, OffsetType::Byte)
            .into_iter()
            .filter_map(|(_, (begin, end), tokens)| {
                let id = tokens.as_ref()?.first()?.id;
                Some((id, ByteRange { begin, end }))
            })
            .collect()
    }
}

fn failed(error: tokenizers::Error) -> Error {
    Error::invalid(format!("text cannot be tokenized: {error}"))
}

/// The library only says that no variant matched; a person wants to know in which part.
fn explain(tokenizer_json: &[u8], error: &str) -> String {
    fn fault<T: DeserializeOwned>(part: &Value) -> Option<String> {
        T::deserialize(part).err().map(|error| error.to_string())
    }
    let file: Value = serde_json::from_slice(tokenizer_json).unwrap_or_default();
    let fault_of = |name: &str, part: &Value| match name {
        "added_tokens" => fault::<Vec<AddedTokenWithId>>(part),
        "normalizer" => fault::<Option<NormalizerWrapper>>(part),
        "pre_tokenizer" => fault::<Option<PreTokenizerWrapper>>(part),
        "post_processor" => fault::<Option<PostProcessorWrapper>>(part),
        "decoder" => fault::<Option<DecoderWrapper>>(part),
        "model" => fault::<ModelWrapper>(part),
        _ => None,
    };
    let parts = file.as_object().into_iter().flatten();
    for (name, part) in parts {
        if let Some(fault) = fault_of(name, part) {
            let kind = &part["type"];
            return format!("{name} (type {kind}) is malformed or unknown: {fault}");
        }
    }
    error.to_owned()
}

fn check_id(
    tokenizer: &tokenizers::Tokenizer,
    content: &str,
    id: u32,
) -> std::result::Result<(), String> {
    match tokenizer.token_to_id(content) {
        Some(actual) if actual == id => Ok(()),
        Some(actual) => Err(format!(
            "added token {content:?} has id {id}, but the vocabulary puts it at {actual}"
        )),
        None => Err(format!(
            "added token {content:?} has id {id}, but it cannot be added"
        )),
    }
}

/// Refuses what this library would encode or decode differently from what the file asks for.
fn check_supported(tokenizer: &tokenizers::Tokenizer) -> Result<()> {
    if let ModelWrapper::BPE(model) = tokenizer.get_model() {
        if model.dropout.is_some_and(|dropout| dropout > 0.0) {
            return Err(Error::unimplemented(format!(
                "tokenizer.json: model.dropout is {:?}; only null and 0 give the same tokens every time",
                model.dropout
            )));
        }
    }
    if !matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_))) {
        return Err(Error::unimplemented(
            "tokenizer.json: the decoder is not ByteLevel, the only one supported",
        ));
    }
    let num_added = tokenizer
        .get_post_processor()
        .map_or(0, |post| post.added_tokens(false));
    if num_added > 0 {
        return Err(Error::unimplemented(format!(
            "tokenizer.json: the post_processor adds {num_added} tokens to every text; only 0 is supported"
        )));
    }
    Ok(())
}
