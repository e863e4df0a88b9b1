//! Memory and errors at the C boundary. The types mirror `longhand_shim.h` field for field.

use std::panic::{catch_unwind, AssertUnwindSafe};

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

/// Runs `body`; turns an error or a panic into a code, and the message into `*message`.
///
/// # Safety
/// `message` must be null or writable.
pub unsafe fn guard(message: *mut Owned<u8>, body: impl FnOnce() -> Result<()>) -> i32 {
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Error::internal(format!(
            "panic in the Rust library: {what}"
        )))
    });
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

/// Drops without letting a panic out.
pub fn drop_quietly<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(move || drop(value)));
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_free_bytes(bytes: Owned<u8>) {
    bytes.free();
}
