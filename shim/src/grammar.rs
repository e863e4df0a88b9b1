//! Grammars that hold an answer to a form, by `llguidance`: compiled once, followed token by token.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llguidance::api::{StopReason, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{ParserFactory, TokenParser};

use crate::error::{Error, Result};
use crate::token_table::{TokenTable, SPECIAL};

// What a stranger's grammar may cost. A mask is found on the thread that plans for all answers: these
// keep the dearest known ones at some 20 ms, where a usual one takes 10 us.
const STEP_LEXER_FUEL: u64 = 50_000;
const STEP_MAX_ITEMS: usize = 5_000;
const MAX_ITEMS_IN_ROW: usize = 2_000;
// Of an ambiguous grammar each token costs more than the one before. Usual answers make some 50 items a
// token, masks included.
const FIRST_ITEMS: usize = 50_000;
const ITEMS_PER_TOKEN: usize = 300;
// States of a lexer take one or two kilobytes each, and stay as long as the compiled grammar.
const MAX_LEXER_STATES: usize = 16_384;
const INITIAL_LEXER_FUEL: u64 = 300_000;
const MAX_GRAMMAR_SIZE: usize = 50_000; // symbols in productions

/// A compiler recurses as deeply as its input nests, and the input is a stranger's.
const STACK_BYTES: usize = 64 << 20;

/// Compiles grammars over one vocabulary. Any number of threads may use it.
pub struct GrammarCompiler {
    factory: ParserFactory,
    /// Bits of the ids that are text: all but special tokens and holes.
    text_ids: Arc<SimpleVob>,
    num_ids: usize,
}

/// A compiled grammar, before the first token. Any number of threads may use it.
pub struct Grammar {
    /// Nobody has followed it.
    start: Mutex<TokenParser>,
    /// Its copies share the lexer's states, so that what one answer met is cheap for the next.
    warm: Mutex<TokenParser>,
    text_ids: Arc<SimpleVob>,
    num_ids: usize,
}

/// One answer's place in its grammar: a function of the tokens appended. One thread at a time.
pub struct GrammarMatcher {
    grammar: Arc<Grammar>,
    parser: TokenParser,
    tokens: Vec<u32>,
    /// The lexer's states are its own: the shared ones were too many, with what others met.
    is_alone: bool,
}

impl GrammarCompiler {
    pub fn new(table: &TokenTable) -> Result<Self> {
        let num_ids = table.flags.len();
        let mut text_ids = SimpleVob::alloc(num_ids + 1);
        let mut words: Vec<Vec<u8>> = Vec::with_capacity(num_ids + 1);
        for id in 0..num_ids {
            let bytes = &table.bytes[table.offsets[id] as usize..table.offsets[id + 1] as usize];
            // 0xFF is no part of UTF-8, and marks special tokens in the trie.
            let is_special = table.flags[id] & SPECIAL != 0;
            let is_text = !is_special && !bytes.is_empty() && !bytes.contains(&0xff);
            words.push(match (is_text, is_special) {
                (true, _) => bytes.to_vec(),
                (false, true) => [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat(),
                (false, false) => Vec::new(),
            });
            text_ids.set(id, is_text);
        }
        // The end of an answer is no id of the vocabulary here: which ids end it is not the grammar's
        // business.
        words.push(Vec::new());
        let info = TokRxInfo::new(num_ids as u32 + 1, num_ids as u32);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &words)));
        let mut factory = ParserFactory::new_simple(&env).map_err(failed)?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.max_lexer_states = MAX_LEXER_STATES;
        limits.max_items_in_row = MAX_ITEMS_IN_ROW;
        limits.step_lexer_fuel = STEP_LEXER_FUEL;
        limits.step_max_items = STEP_MAX_ITEMS;
        limits.initial_lexer_fuel = INITIAL_LEXER_FUEL;
        limits.max_grammar_size = MAX_GRAMMAR_SIZE;
        limits.verbose_errors = false;
        Ok(Self {
            factory,
            text_ids: Arc::new(text_ids),
            num_ids,
        })
    }

    pub fn compile(&self, grammar: TopLevelGrammar) -> Result<Arc<Grammar>> {
        let mut start = std::thread::scope(|scope| {
            std::thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, || self.factory.create_parser(grammar))
                .map_err(|error| Error::exhausted(format!("no thread to compile on: {error}")))?
                .join()
                .unwrap_or_else(|_| Err(llguidance_panic()))
                .map_err(|error| refused("the grammar cannot be compiled", error))
        })?;
        start.start_without_prompt();
        let grammar = Arc::new(Grammar {
            warm: Mutex::new(start.deep_clone()),
            start: Mutex::new(start),
            text_ids: self.text_ids.clone(),
            num_ids: self.num_ids,
        });
        check_start(&grammar)?;
        Ok(grammar)
    }
}

/// A grammar that allows no text is a mistake, and one whose first mask is too dear never runs.
fn check_start(grammar: &Arc<Grammar>) -> Result<()> {
    let mut mask = vec![0; grammar.num_ids.div_ceil(32)];
    GrammarMatcher::new(grammar).allowed(&mut mask)?;
    if mask.iter().all(|word| *word == 0) {
        return Err(Error::invalid("the grammar allows no text"));
    }
    Ok(())
}

fn lock(parser: &Mutex<TokenParser>) -> MutexGuard<'_, TokenParser> {
    parser.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GrammarMatcher {
    pub fn new(grammar: &Arc<Grammar>) -> Self {
        Self {
            grammar: grammar.clone(),
            parser: lock(&grammar.warm).clone(),
            tokens: Vec::new(),
            is_alone: false,
        }
    }

    pub fn append(&mut self, id: u32) -> Result<()> {
        if id as usize >= self.grammar.num_ids || !self.grammar.text_ids.is_allowed(id) {
            return Err(Error::invalid(format!(
                "token {id} is not of the grammar: it is no text"
            )));
        }
        self.tokens.push(id);
        self.check_items()?;
        match consume(&mut self.parser, id) {
            Err(_) if self.stand_alone() => Ok(()),
            outcome => outcome,
        }
    }

    /// Bit `id % 32` of word `id / 32`: whether the token may follow. None may where the grammar has
    /// come to its end.
    pub fn allowed(&mut self, mask: &mut [u32]) -> Result<()> {
        mask.fill(0);
        if self.must_end() {
            return Ok(());
        }
        let mut found = self.parser.compute_mask();
        if found.is_err() && self.stand_alone() {
            found = self.parser.compute_mask();
        }
        let allowed = match found {
            Ok(allowed) => allowed,
            Err(_) if self.leads_nowhere() => return Ok(()),
            Err(error) => return Err(not_followed(error)),
        };
        let words = allowed
            .as_slice()
            .iter()
            .zip(self.grammar.text_ids.as_slice());
        for (to, (allowed, text)) in mask.iter_mut().zip(words) {
            *to = allowed & text;
        }
        Ok(())
    }

    /// The text so far may be the whole answer.
    pub fn is_complete(&mut self) -> bool {
        self.must_end() || self.parser.is_accepting()
    }

    /// Nothing may follow the text so far.
    pub fn must_end(&self) -> bool {
        self.parser.stop_reason() == StopReason::NoExtension
    }

    fn check_items(&self) -> Result<()> {
        let num_items = self.parser.parser_stats().all_items;
        if num_items > FIRST_ITEMS + ITEMS_PER_TOKEN * self.tokens.len() {
            return Err(not_followed(format!(
                "it took {num_items} items for {} tokens, as an ambiguous one does",
                self.tokens.len()
            )));
        }
        Ok(())
    }

    fn leads_nowhere(&self) -> bool {
        self.parser.stop_reason() == StopReason::NoExtensionBias
    }

    /// A lexer that has met too much may have met it with others: the tokens are followed once more,
    /// from one that nobody else has. False where that fails too, or was done already.
    fn stand_alone(&mut self) -> bool {
        let is_lexer = self.parser.stop_reason() == StopReason::LexerTooComplex;
        if !is_lexer || std::mem::replace(&mut self.is_alone, true) {
            return false;
        }
        self.parser = lock(&self.grammar.start).deep_clone();
        self.tokens
            .iter()
            .all(|id| consume(&mut self.parser, *id).is_ok())
    }
}

fn consume(parser: &mut TokenParser, id: u32) -> Result<()> {
    parser.consume_token(id).map_err(not_followed)?;
    parser.check_stop().map_err(not_followed)?;
    Ok(())
}

fn llguidance_panic() -> anyhow::Error {
    anyhow::anyhow!("its compiler failed")
}

/// The library's first line says what is wrong, and of a regex its last; the rest is its own state.
fn refused(what: &str, error: impl std::fmt::Display) -> Error {
    let text = error.to_string();
    let text = text.split("<non-verbose/>").next().unwrap_or_default();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut line = lines.next().unwrap_or("unknown error").to_string();
    if let Some(of_regex) = lines.find_map(|line| line.strip_prefix("error: ")) {
        line = format!(
            "{} {of_regex}",
            line.trim_end_matches("regex parse error:").trim_end()
        );
    }
    if let Some((end, _)) = line.char_indices().nth(MAX_MESSAGE_CHARS) {
        line.truncate(end);
        line.push_str("...");
    }
    Error::invalid(format!("{what}: {line}"))
}

fn not_followed(error: impl std::fmt::Display) -> Error {
    refused("the grammar cannot be followed further", error)
}

const MAX_MESSAGE_CHARS: usize = 200;

fn failed(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("the vocabulary cannot be indexed: {error}"))
}
