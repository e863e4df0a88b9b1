//! Page readers that refuse what would make the decoder reserve memory without bytes behind it.

use parquet::basic::Type;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::RowGroupReader;

/// Nulls take hardly a byte, so that a page's bytes do not bound its values.
const MAX_PAGE_VALUES: u32 = 4 << 20;
const MAX_CHUNK_VALUES: u64 = 64 << 20;

pub struct CheckedGroup<'a>(pub Box<dyn RowGroupReader + 'a>);

impl RowGroupReader for CheckedGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.0.metadata()
    }

    fn num_columns(&self) -> usize {
        self.0.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>> {
        Ok(Box::new(CheckedPages {
            pages: self.0.get_column_page_reader(i)?,
            kind: self.metadata().column(i).column_type(),
            num_values: 0,
        }))
    }

    fn get_column_bloom_filter(&self, i: usize) -> Option<&parquet::bloom_filter::Sbbf> {
        self.0.get_column_bloom_filter(i)
    }

    fn get_row_iter(
        &self,
        projection: Option<parquet::schema::types::Type>,
    ) -> Result<parquet::record::reader::RowIter<'_>> {
        parquet::record::reader::RowIter::from_row_group(projection, self)
    }
}

struct CheckedPages {
    pages: Box<dyn PageReader>,
    kind: Type,
    num_values: u64,
}

impl CheckedPages {
    fn check(&mut self, page: &Page) -> Result<()> {
        let num_values = page.num_values();
        if let Page::DictionaryPage { buf, .. } = page {
            let value_bytes = match self.kind {
                Type::BOOLEAN | Type::FIXED_LEN_BYTE_ARRAY => 1,
                Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
                Type::INT64 | Type::DOUBLE => 8,
                Type::INT96 => 12,
            };
            if num_values as usize > buf.len() / value_bytes {
                return Err(ParquetError::General(format!(
                    "a dictionary of {} bytes is to have {num_values} values",
                    buf.len()
                )));
            }
            return Ok(());
        }
        self.num_values += u64::from(num_values);
        if num_values > MAX_PAGE_VALUES || self.num_values > MAX_CHUNK_VALUES {
            return Err(ParquetError::General(format!(
                "a page has {num_values} values and its column chunk at least {}; \
                 at most {MAX_PAGE_VALUES} and {MAX_CHUNK_VALUES} are read",
                self.num_values
            )));
        }
        Ok(())
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        if let Some(page) = &page {
            self.check(page)?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}
