//! What exists in Rust only, behind one C header (`longhand_shim.h`): Hugging Face `tokenizers`,
//! `minijinja` for chat templates, `llguidance` for grammars, `safetensors` header validation, and
//! `parquet`.
//!
//! Modules without `_ffi` know nothing of C. No exported function lets a panic out: see `ffi::guard`.

mod chat_template;
mod chat_template_ffi;
mod error;
mod ffi;
mod grammar;
mod grammar_ffi;
mod grammar_text;
mod marked_text;
mod parquet_ffi;
mod parquet_footer;
mod parquet_pages;
mod parquet_rows;
mod safetensors_ffi;
mod safetensors_header;
mod token_table;
mod tokenizer;
mod tokenizer_ffi;
