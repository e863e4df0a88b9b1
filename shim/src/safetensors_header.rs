//! The header of a safetensors file: read, checked, and turned into absolute offsets.

use std::collections::BTreeMap;

use safetensors::tensor::{SafeTensorError, SafeTensors};
use serde::Deserialize;

use crate::error::{Error, Result};

const LENGTH_BYTES: usize = 8;

#[derive(Debug)]
pub struct Tensor {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<u64>,
    /// Within the file.
    pub begin: u64,
    pub end: u64,
}

/// `file` is the whole mapped file; only its header is read. Tensors come in the order of their data.
pub fn parse(file: &[u8]) -> Result<Vec<Tensor>> {
    let (header_size, metadata) =
        SafeTensors::read_metadata(file).map_err(|error| explain(file, error))?;
    let data = (LENGTH_BYTES + header_size) as u64;
    let tensors = metadata
        .offset_keys()
        .into_iter()
        .map(|name| {
            let info = metadata.info(&name).expect("listed by the same header");
            Tensor {
                dtype: info.dtype.to_string(),
                shape: info.shape.iter().map(|size| *size as u64).collect(),
                begin: data + info.data_offsets.0 as u64,
                end: data + info.data_offsets.1 as u64,
                name,
            }
        })
        .collect();
    Ok(tensors)
}

#[derive(Deserialize)]
struct Entry {
    dtype: safetensors::Dtype,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The library says that something is wrong; a person wants to know with what, and the numbers.
fn explain(file: &[u8], error: SafeTensorError) -> Error {
    let size = file.len();
    let stated = file
        .get(..LENGTH_BYTES)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
    Error::invalid(match (&error, stated) {
        (SafeTensorError::HeaderTooSmall, _) | (_, None) => {
            format!("the file has {size} bytes; a safetensors file starts with 8 bytes of header length")
        }
        (SafeTensorError::HeaderTooLarge, Some(stated)) => {
            format!("the header claims {stated} bytes; at most 100000000 are allowed")
        }
        (SafeTensorError::InvalidHeaderLength, Some(stated)) => {
            format!("the header claims {stated} bytes, but the file has only {size}: it is truncated or not safetensors")
        }
        (_, Some(stated)) => file
            .get(LENGTH_BYTES..LENGTH_BYTES.saturating_add(stated as usize))
            .and_then(|header| find_fault(header, (size - LENGTH_BYTES) as u64 - stated))
            .unwrap_or_else(|| format!("bad header: {error}")),
    })
}

/// Walks the entries as the library does, in the order of their data, and names the first bad one.
fn find_fault(header: &[u8], data_bytes: u64) -> Option<String> {
    let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header).ok()?;
    let mut entries = Vec::new();
    for (name, value) in header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
    {
        match serde_json::from_value::<Entry>(value) {
            Ok(entry) => entries.push((entry.data_offsets, name, entry)),
            Err(error) => return Some(format!("tensor {name:?}: bad header entry: {error}")),
        }
    }
    entries.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let mut expected = 0;
    for ((begin, end), name, entry) in &entries {
        if begin != &expected || end < begin {
            let fault = if end < begin {
                "ends before it begins".to_owned()
            } else if *begin > expected {
                format!("leaves a hole: its data must begin at {expected}")
            } else {
                format!("overlaps the tensor before it, which ends at {expected}")
            };
            return Some(format!(
                "tensor {name:?}: data_offsets [{begin}, {end}] {fault}"
            ));
        }
        let bits = entry
            .shape
            .iter()
            .try_fold(entry.dtype.bitsize() as u64, |bits, size| {
                bits.checked_mul(*size)
            });
        if bits != (end - begin).checked_mul(8) {
            let needed = bits.map_or("more than 2^64 bits".to_owned(), |bits| {
                format!("{} bytes", bits.div_ceil(8))
            });
            return Some(format!(
                "tensor {name:?}: data_offsets [{begin}, {end}] hold {} bytes, but {} {:?} needs {needed}",
                end - begin, entry.dtype, entry.shape
            ));
        }
        expected = *end;
    }
    (expected != data_bytes).then(|| {
        format!("the tensors need {expected} bytes of data, but the file has {data_bytes}: it is truncated or has a tail")
    })
}
