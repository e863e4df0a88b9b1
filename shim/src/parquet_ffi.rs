//! `longhand_shim_parquet_*`.

use crate::error::Error;
use crate::ffi::{drop_quietly, guard, Owned, Slice};
use crate::parquet_rows::{JsonRow, ParquetRows};

#[repr(C)]
pub struct RowView {
    json: Slice,
    blobs: *const Slice,
    num_blobs: usize,
}

pub struct Reader {
    rows: ParquetRows,
    row: Option<JsonRow>,
    blobs: Vec<Slice>, // of `row`
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_parquet_new(
    path: Slice,
    out: *mut *mut Reader,
    error: *mut Owned<u8>,
) -> i32 {
    guard(error, || {
        let path = std::str::from_utf8(path.bytes())
            .map_err(|_| Error::invalid("its name is not UTF-8"))?;
        *out = Box::into_raw(Box::new(Reader {
            rows: ParquetRows::open(path)?,
            row: None,
            blobs: Vec::new(),
        }));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_parquet_num_rows(reader: *const Reader) -> i64 {
    (*reader).rows.num_rows()
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_parquet_next(
    reader: *mut Reader,
    out: *mut RowView,
    error: *mut Owned<u8>,
) -> i32 {
    let reader = &mut *reader;
    guard(error, || {
        reader.row = None;
        reader.row = reader.rows.next()?;
        let json = reader.row.as_ref().map_or("", |row| &row.json);
        reader.blobs = reader
            .row
            .iter()
            .flat_map(|row| &row.blobs)
            .map(|blob| Slice::of(blob.data()))
            .collect();
        *out = RowView {
            json: Slice::of(json.as_bytes()),
            blobs: reader.blobs.as_ptr(),
            num_blobs: reader.blobs.len(),
        };
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn longhand_shim_parquet_free(reader: *mut Reader) {
    if !reader.is_null() {
        drop_quietly(Box::from_raw(reader));
    }
}
