//! Memory and errors at the C boundary. The types mirror `longhand_shim.h` field for field.

use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe};
use std::sync::Once;

use crate::error::{Error, Result};

/// Bytes borrowed from the caller for one call. `data` may be null when `size` is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slice {
    pub data: *const u8,
    pub size: usize,
}

impl Slice {
    /// # Safety
    /// `data` must point to `size` readable bytes that outlive `'a`.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        borrowed(self.data, self.size)
    }

    /// A null `data` means "absent", which differs from an empty file.
    ///
    /// # Safety
    /// As for `bytes`.
    pub unsafe fn optional_bytes<'a>(self) -> Option<&'a [u8]> {
        (!self.data.is_null()).then(|| self.bytes())
    }

    pub fn of(bytes: &[u8]) -> Self {
        Self {
            data: bytes.as_ptr(),
            size: bytes.len(),
        }
    }
}

/// # Safety
/// `data` must point to `count` readable values that outlive `'a`, or `count` must be 0.
pub unsafe fn borrowed<'a, T>(data: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, count)
    }
}

/// Values owned by the caller until it hands them back to the matching free function.
#[repr(C)]
pub struct Owned<T> {
    pub data: *mut T,
    pub size: usize,
}

impl<T> Owned<T> {
    pub fn new(values: Vec<T>) -> Self {
        let mut values = std::mem::ManuallyDrop::new(values.into_boxed_slice());
        Self {
            data: values.as_mut_ptr(),
            size: values.len(),
        }
    }

    /// # Safety
    /// Must have come from `new` and not have been freed.
    pub unsafe fn free(self) {
        if !self.data.is_null() {
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(
                self.data, self.size,
            )));
        }
    }
}

/// A half-open range of bytes in a text.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    pub begin: usize,
    pub end: usize,
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Inside a guard a panic is an error like another: its place and message go to the caller and not
/// to stderr.
fn keep_quiet_in_guards() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = take_hook();
        set_hook(Box::new(move |info| {
            if GUARDED.get() {
                LAST_PANIC.set(info.to_string());
            } else {
                default(info);
            }
        }));
    });
}

/// What `body` returns, or the message of its panic.
fn caught<T>(body: impl FnOnce() -> T) -> std::result::Result<T, String> {
    keep_quiet_in_guards();
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    GUARDED.set(outer);
    outcome.map_err(|_| LAST_PANIC.take())
}

/// Runs `body`; turns an error or a panic into a code, and the message into `*message`.
///
/// # Safety
/// `message` must be null or writable.
pub unsafe fn guard(message: *mut Owned<u8>, body: impl FnOnce() -> Result<()>) -> i32 {
    let outcome = caught(body).unwrap_or_else(|panic| Err(of_panic(&panic)));
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            if !message.is_null() {
                *message = Owned::new(error.message.into_bytes());
            }
            error.code as i32
        }
    }
}

/// The regex library panics where a match would take it too long; that is the text's doing.
fn of_panic(panic: &str) -> Error {
    if panic.contains("retry-limit-in-match") {
        return Error::invalid(
            "text cannot be tokenized: it has a run of over a million alike characters",
        );
    }
    Error::internal(format!("the Rust library failed: {panic}"))
}

/// Drops without letting a panic out.
pub fn drop_quietly<T>(value: T) {
    let _ = caught(move || drop(value));
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_free_bytes(bytes: Owned<u8>) {
    bytes.free();
}
