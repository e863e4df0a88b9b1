//! Looks through a Parquet footer before it is parsed: the parser reserves memory for whatever a
//! list says that it holds, and recurses over the schema.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::error::{Error, Result};

const MAX_FOOTER_BYTES: u64 = 64 << 20;
const MAX_SCHEMA_ELEMENTS: usize = 1000;
const MAX_DEPTH: usize = 32;
/// Of FileMetaData.
const SCHEMA_FIELD: i64 = 2;

pub fn check(file: &File) -> Result<()> {
    let footer = read(file)?;
    let mut rest = footer.as_slice();
    skim_struct(&mut rest, 0)
}

fn read(file: &File) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| Error::invalid(format!("it cannot be read: {e}"));
    let size = file.metadata().map_err(failed)?.len();
    if size < 12 {
        return Err(Error::invalid(format!(
            "it has {size} bytes; a Parquet file has at least 12"
        )));
    }
    let mut tail = [0; 8];
    file.read_exact_at(&mut tail, size - 8).map_err(failed)?;
    if &tail[4..] == b"PARE" {
        return Err(Error::unimplemented("it is encrypted"));
    }
    if &tail[4..] != b"PAR1" {
        return Err(Error::invalid(
            "it does not end with PAR1, so it is no Parquet file, or not all of one",
        ));
    }
    let footer_size = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if footer_size > size - 12 {
        return Err(Error::invalid(format!(
            "its footer is to have {footer_size} bytes, and the file has {size}"
        )));
    }
    if footer_size > MAX_FOOTER_BYTES {
        return Err(Error::exhausted(format!(
            "its footer has {footer_size} bytes; at most {MAX_FOOTER_BYTES} are read"
        )));
    }
    let mut footer = vec![0; footer_size as usize];
    file.read_exact_at(&mut footer, size - 8 - footer_size)
        .map_err(failed)?;
    Ok(footer)
}

fn broken() -> Error {
    Error::invalid("its footer is broken")
}

fn byte(rest: &mut &[u8]) -> Result<u8> {
    let (&first, tail) = rest.split_first().ok_or_else(broken)?;
    *rest = tail;
    Ok(first)
}

fn varint(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let next = byte(rest)?;
        value |= u64::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(broken())
}

fn skip(rest: &mut &[u8], count: u64) -> Result<()> {
    let count = usize::try_from(count).map_err(|_| broken())?;
    *rest = rest.get(count..).ok_or_else(broken)?;
    Ok(())
}

/// Thrift's compact protocol.
fn skim_struct(rest: &mut &[u8], depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(broken());
    }
    let mut id = 0;
    loop {
        let header = byte(rest)?;
        if header == 0 {
            return Ok(());
        }
        id = match header >> 4 {
            0 => {
                let zigzag = varint(rest)?;
                (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
            }
            delta => id + i64::from(delta),
        };
        let kind = header & 0xf;
        if kind > 2 {
            let is_schema = depth == 0 && id == SCHEMA_FIELD;
            skim_value(rest, kind, is_schema, depth)?;
        }
    }
}

fn skim_value(rest: &mut &[u8], kind: u8, is_schema: bool, depth: usize) -> Result<()> {
    match kind {
        1..=3 => skip(rest, 1), // booleans of a list, and bytes
        4..=6 => varint(rest).map(|_| ()),
        7 => skip(rest, 8),
        8 => {
            let size = varint(rest)?;
            skip(rest, size)
        }
        9 | 10 => skim_list(rest, is_schema, depth + 1),
        12 => skim_struct(rest, depth + 1),
        _ => Err(broken()),
    }
}

fn skim_list(rest: &mut &[u8], is_schema: bool, depth: usize) -> Result<()> {
    let header = byte(rest)?;
    let count = match header >> 4 {
        15 => varint(rest)?,
        count => u64::from(count),
    };
    // Each element takes a byte at least.
    let count = usize::try_from(count).map_err(|_| broken())?;
    if count > rest.len() || depth > MAX_DEPTH {
        return Err(broken());
    }
    if is_schema && count > MAX_SCHEMA_ELEMENTS {
        return Err(Error::exhausted(format!(
            "its schema has {count} elements; at most {MAX_SCHEMA_ELEMENTS} are read"
        )));
    }
    for _ in 0..count {
        skim_value(rest, header & 0xf, false, depth)?;
    }
    Ok(())
}
