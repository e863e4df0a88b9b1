//! `longhand_shim_safetensors_*`.

use crate::ffi::{drop_quietly, guard, Owned, Slice};
use crate::safetensors_header::{parse, Tensor};

#[repr(C)]
pub struct TensorView {
    name: Slice,
    dtype: Slice,
    shape: *const u64,
    rank: usize,
    begin: u64,
    end: u64,
}

/// The views point into the tensors, which do not move.
pub struct Header {
    views: Vec<TensorView>,
    _tensors: Vec<Tensor>,
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_safetensors_new(
    file: Slice,
    out: *mut *mut Header,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        let tensors = parse(file.bytes())?;
        let views = tensors
            .iter()
            .map(|tensor| TensorView {
                name: Slice::of(tensor.name.as_bytes()),
                dtype: Slice::of(tensor.dtype.as_bytes()),
                shape: tensor.shape.as_ptr(),
                rank: tensor.shape.len(),
                begin: tensor.begin,
                end: tensor.end,
            })
            .collect();
        *out = Box::into_raw(Box::new(Header {
            views,
            _tensors: tensors,
        }));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_safetensors_tensors(
    header: *const Header,
    num_tensors: *mut usize,
) -> *const TensorView {
    let views = &(*header).views;
    *num_tensors = views.len();
    views.as_ptr()
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_safetensors_free(header: *mut Header) {
    if !header.is_null() {
        drop_quietly(Box::from_raw(header));
    }
}
