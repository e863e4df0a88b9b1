//! `longhand_shim_tokenizer_*`.

use crate::error::Error;
use crate::ffi::{borrowed, drop_quietly, guard, ByteRange, Owned, Slice};
use crate::tokenizer::Tokenizer;

#[repr(C)]
pub struct TokenTableView {
    bytes: *const u8,
    offsets: *const u32,
    flags: *const u8,
    num_ids: usize,
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_tokenizer_new(
    tokenizer_json: Slice,
    config_json: Slice,
    out: *mut *mut Tokenizer,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        let tokenizer = Tokenizer::load(tokenizer_json.bytes(), config_json.optional_bytes())?;
        *out = Box::into_raw(Box::new(tokenizer));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_tokenizer_free(tokenizer: *mut Tokenizer) {
    if !tokenizer.is_null() {
        drop_quietly(Box::from_raw(tokenizer));
    }
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_tokenizer_encode(
    tokenizer: *const Tokenizer,
    text: Slice,
    ids: *mut Owned<u32>,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        let text = String::from_utf8_lossy(text.bytes());
        *ids = Owned::new((*tokenizer).encode_with_control_tokens(&text)?);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_tokenizer_encode_plain(
    tokenizer: *const Tokenizer,
    text: Slice,
    ids: *mut Owned<u32>,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        let text = String::from_utf8_lossy(text.bytes());
        *ids = Owned::new((*tokenizer).encode_plain(&text)?);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_tokenizer_encode_around(
    tokenizer: *const Tokenizer,
    text: Slice,
    literal: *const ByteRange,
    num_literal: usize,
    ids: *mut Owned<u32>,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        let text = std::str::from_utf8(text.bytes())
            .map_err(|error| Error::invalid(format!("text is not UTF-8: {error}")))?;
        *ids = Owned::new((*tokenizer).encode_around(text, borrowed(literal, num_literal))?);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_tokenizer_id_of(
    tokenizer: *const Tokenizer,
    token: Slice,
    id: *mut u32,
) -> i32 {
    let mut found = false;
    let code = guard(std::ptr::null_mut(), || {
        if let Some(value) = std::str::from_utf8(token.bytes())
            .ok()
            .and_then(|t| (*tokenizer).id_of(t))
        {
            *id = value;
            found = true;
        }
        Ok(())
    });
    i32::from(code == 0 && found)
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_tokenizer_table(
    tokenizer: *const Tokenizer,
) -> TokenTableView {
    let table = &(*tokenizer).table;
    TokenTableView {
        bytes: table.bytes.as_ptr(),
        offsets: table.offsets.as_ptr(),
        flags: table.flags.as_ptr(),
        num_ids: table.flags.len(),
    }
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_free_ids(ids: Owned<u32>) {
    ids.free();
}
