//! Rows of a Parquet file as JSON, one at a time. What JSON cannot hold, bytes, stays beside it.

use std::fs::File;

use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::{ReaderIter, TreeBuilder};
use parquet::record::{Field, Row};
use serde_json::{json, Map, Value};

use crate::error::{Error, Result};
use crate::parquet_footer;
use crate::parquet_pages::CheckedGroup;

pub struct ParquetRows {
    file: SerializedFileReader<File>,
    next_group: usize,
    rows: Option<ReaderIter>,
}

pub struct JsonRow {
    /// An object. A field of bytes is {"blob": i}.
    pub json: String,
    /// In the order of their places in the row.
    pub blobs: Vec<ByteArray>,
}

fn invalid(error: ParquetError) -> Error {
    Error::invalid(error.to_string())
}

impl ParquetRows {
    pub fn open(path: &str) -> Result<Self> {
        let file =
            File::open(path).map_err(|e| Error::invalid(format!("it cannot be opened: {e}")))?;
        parquet_footer::check(&file)?;
        Ok(Self {
            file: SerializedFileReader::new(file).map_err(invalid)?,
            next_group: 0,
            rows: None,
        })
    }

    pub fn num_rows(&self) -> i64 {
        self.file.metadata().file_metadata().num_rows().max(0)
    }

    /// None after the last.
    pub fn next(&mut self) -> Result<Option<JsonRow>> {
        loop {
            match self.rows.as_mut().and_then(Iterator::next) {
                Some(row) => return row.map(|row| Some(to_json(row))).map_err(invalid),
                None if self.next_group == self.file.num_row_groups() => return Ok(None),
                None => self.open_group().map_err(invalid)?,
            }
        }
    }

    fn open_group(&mut self) -> parquet::errors::Result<()> {
        let group = CheckedGroup(self.file.get_row_group(self.next_group)?);
        let schema = self.file.metadata().file_metadata().schema_descr_ptr();
        // A row may have tens of megabytes of pictures: no more than one is decoded ahead.
        self.rows = Some(
            TreeBuilder::new()
                .with_batch_size(1)
                .as_iter(schema, &group)?,
        );
        self.next_group += 1;
        Ok(())
    }
}

fn to_json(row: Row) -> JsonRow {
    let mut blobs = Vec::new();
    let json = object(row, &mut blobs).to_string();
    JsonRow { json, blobs }
}

fn object(row: Row, blobs: &mut Vec<ByteArray>) -> Value {
    let fields: Map<String, Value> = row
        .into_columns()
        .into_iter()
        .map(|(name, field)| (name, value(field, blobs)))
        .collect();
    Value::Object(fields)
}

fn value(field: Field, blobs: &mut Vec<ByteArray>) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(v) => v.into(),
        Field::Byte(v) => v.into(),
        Field::Short(v) => v.into(),
        Field::Int(v) => v.into(),
        Field::Long(v) => v.into(),
        Field::UByte(v) => v.into(),
        Field::UShort(v) => v.into(),
        Field::UInt(v) => v.into(),
        Field::ULong(v) => v.into(),
        Field::Float(v) => v.into(),
        Field::Double(v) => v.into(),
        Field::Str(v) => v.into(),
        Field::Bytes(bytes) => {
            blobs.push(bytes);
            json!({ "blob": blobs.len() - 1 })
        }
        Field::Group(row) => object(row, blobs),
        Field::ListInternal(list) => list
            .elements()
            .iter()
            .map(|element| value(element.clone(), blobs))
            .collect(),
        Field::MapInternal(map) => map
            .entries()
            .iter()
            .map(|(k, v)| json!([value(k.clone(), blobs), value(v.clone(), blobs)]))
            .collect(),
        other => other.to_string().into(), // dates, times and decimals
    }
}
