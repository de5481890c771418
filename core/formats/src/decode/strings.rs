//! Columns of text, and of JSON as text.

use std::sync::Arc;

use arrow_array::builder::NullBufferBuilder;
use arrow_array::types::{ByteArrayType, GenericStringType};
use arrow_array::{ArrayRef, GenericByteArray, GenericStringArray, OffsetSizeTrait};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use tidegate_core::{Error, Result};

use super::Fault;
use super::column::Build;
use super::json::Cursor;

/// Values of any length, one after the other.
pub(crate) struct Slices<O> {
    pub(crate) values: Vec<u8>,
    offsets: Vec<O>,
    nulls: NullBufferBuilder,
}

impl<O: OffsetSizeTrait> Slices<O> {
    pub(crate) fn new(capacity: usize) -> Self {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(O::default());
        Self {
            values: Vec::new(),
            offsets,
            nulls: NullBufferBuilder::new(capacity),
        }
    }

    /// Ends the value that was appended to `values`.
    #[inline]
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        match O::from_usize(self.values.len()) {
            Some(end) => self.offsets.push(end),
            None => {
                return Err(Fault::new(
                    "more text in one piece of the file than a column holds",
                ));
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        let end = self.offsets.last().map_or(0, |end| end.as_usize());
        self.values.truncate(end);
        self.nulls.truncate(length);
    }

    pub(crate) fn append_null(&mut self) {
        let end = self.offsets.last().copied().unwrap_or_default();
        self.offsets.push(end);
        self.nulls.append_null();
    }

    pub(crate) fn finish<T: ByteArrayType<Offset = O>>(&mut self) -> Result<GenericByteArray<T>> {
        let capacity = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(capacity));
        let offsets = std::mem::replace(&mut self.offsets, vec![O::default()]);
        if offsets.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(Error::internal("a column's offsets decrease"));
        }
        Ok(GenericByteArray::try_new(
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from_vec(values),
            self.nulls.finish(),
        )?)
    }
}

/// A column of text.
///
/// Everything that is appended is UTF-8: rows are checked before they are read.
pub(crate) struct Strings<O> {
    slices: Slices<O>,
    /// Whether it holds JSON values as text, strings with their quotes.
    json: bool,
}

impl<O: OffsetSizeTrait> Strings<O> {
    pub(crate) fn new(json: bool, capacity: usize) -> Self {
        Self {
            slices: Slices::new(capacity),
            json,
        }
    }
}

impl<O: OffsetSizeTrait> Build for Strings<O> {
    fn truncate(&mut self, length: usize) {
        self.slices.truncate(length);
    }

    fn append_null(&mut self) {
        self.slices.append_null();
    }

    #[inline]
    fn append_json(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        if cursor.peek() == Some(b'"') && !self.json {
            cursor.text_into(&mut self.slices.values)?;
        } else {
            self.slices.values.extend_from_slice(cursor.raw()?);
        }
        self.slices.end()
    }

    #[inline]
    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        if self.json {
            let mut cursor = Cursor::new(text);
            cursor.space();
            cursor.raw()?;
            cursor.end()?;
        }
        self.slices.values.extend_from_slice(text);
        self.slices.end()
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let array: GenericStringArray<O> = self.slices.finish::<GenericStringType<O>>()?;
        Ok(Arc::new(array))
    }
}
