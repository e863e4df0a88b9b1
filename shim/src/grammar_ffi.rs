//! `longhand_shim_grammar_*`.

use std::sync::Arc;

use crate::error::Error;
use crate::ffi::{drop_quietly, guard, Owned, Slice};
use crate::grammar::{Grammar, GrammarCompiler, GrammarMatcher};
use crate::grammar_text::grammar_of;
use crate::tokenizer::Tokenizer;

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_grammar_compiler_new(
    tokenizer: *const Tokenizer,
    out: *mut *mut GrammarCompiler,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        let compiler = GrammarCompiler::new(&(*tokenizer).table)?;
        *out = Box::into_raw(Box::new(compiler));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_grammar_compiler_free(compiler: *mut GrammarCompiler) {
    if !compiler.is_null() {
        drop_quietly(Box::from_raw(compiler));
    }
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_grammar_compile(
    compiler: *const GrammarCompiler,
    kind: i32,
    text: Slice,
    out: *mut *const Grammar,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        let text = std::str::from_utf8(text.bytes())
            .map_err(|error| Error::invalid(format!("the grammar is not UTF-8: {error}")))?;
        let grammar = (*compiler).compile(grammar_of(kind, text)?)?;
        *out = Arc::into_raw(grammar);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_grammar_free(grammar: *const Grammar) {
    if !grammar.is_null() {
        drop_quietly(Arc::from_raw(grammar));
    }
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_grammar_matcher_new(
    grammar: *const Grammar,
    out: *mut *mut GrammarMatcher,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        // The handle stays the caller's.
        let grammar = std::mem::ManuallyDrop::new(Arc::from_raw(grammar));
        *out = Box::into_raw(Box::new(GrammarMatcher::new(&grammar)));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_grammar_matcher_free(matcher: *mut GrammarMatcher) {
    if !matcher.is_null() {
        drop_quietly(Box::from_raw(matcher));
    }
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_grammar_matcher_append(
    matcher: *mut GrammarMatcher,
    id: u32,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || (*matcher).append(id))
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_grammar_matcher_allowed(
    matcher: *mut GrammarMatcher,
    mask: *mut u32,
    num_words: usize,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        (*matcher).allowed(std::slice::from_raw_parts_mut(mask, num_words))
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_grammar_matcher_end(
    matcher: *mut GrammarMatcher,
    is_complete: *mut i32,
    must_end: *mut i32,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        *is_complete = i32::from((*matcher).is_complete());
        *must_end = i32::from((*matcher).must_end());
        Ok(())
    })
}
