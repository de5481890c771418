//! Columns of lists and structs. In text alone (a CSV field) they are JSON.

use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{FieldRef, Fields};
use tidegate_core::Result;

use super::Fault;
use super::column::{Build, Column};
use super::fault::excerpt;
use super::json::{Cursor, Object};

/// A column of lists.
pub(crate) struct Lists {
    field: FieldRef,
    items: Box<Column>,
    /// The number of items so far.
    length: usize,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Lists {
    pub(crate) fn new(field: &FieldRef, capacity: usize, exact: bool) -> Result<Self> {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(0);
        Ok(Self {
            field: Arc::clone(field),
            items: Box::new(Column::new(field, capacity, exact)?),
            length: 0,
            offsets,
            nulls: NullBufferBuilder::new(capacity),
        })
    }

    /// See [`Object::fold_names`].
    pub(crate) fn fold_names(&mut self) {
        self.items.fold_names();
    }

    /// See [`Object::name_unknown`].
    pub(crate) fn name_unknown(&self, path: &str, give: &mut dyn FnMut(usize, String)) {
        self.items.name_unknown(path, give);
    }

    fn end(&mut self) -> Result<(), Fault> {
        let end = i32::try_from(self.length)
            .map_err(|_| Fault::new("more items in one piece of the file than a column holds"))?;
        self.offsets.push(end);
        Ok(())
    }
}

impl Build for Lists {
    fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        self.nulls.truncate(length);
        let end = self.offsets.last().copied().unwrap_or(0);
        self.length = usize::try_from(end).unwrap_or(0);
        self.items.truncate(self.length);
    }

    fn append_null(&mut self) {
        let end = self.offsets.last().copied().unwrap_or(0);
        self.offsets.push(end);
        self.nulls.append_null();
    }

    fn append_json(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        if cursor.peek() != Some(b'[') {
            let text = excerpt(cursor.raw()?);
            return Err(Fault::new(format!("{text} is not an array")));
        }
        let (items, length) = (&mut self.items, &mut self.length);
        let nullable = self.field.is_nullable();
        cursor.each(|cursor| {
            items.append(cursor, nullable)?;
            *length += 1;
            Ok(())
        })?;
        self.end()?;
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        alone(text, |cursor| self.append_json(cursor))
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        self.length = 0;
        Ok(Arc::new(ListArray::try_new(
            Arc::clone(&self.field),
            OffsetBuffer::new(offsets.into()),
            self.items.finish()?,
            self.nulls.finish(),
        )?))
    }
}

/// A column of structs.
pub(crate) struct Structs {
    fields: Fields,
    object: Object,
    nulls: NullBufferBuilder,
}

impl Structs {
    pub(crate) fn new(fields: &Fields, capacity: usize, exact: bool) -> Result<Self> {
        Ok(Self {
            fields: fields.clone(),
            object: Object::new(fields, capacity, exact)?,
            nulls: NullBufferBuilder::new(capacity),
        })
    }

    /// See [`Object::fold_names`].
    pub(crate) fn fold_names(&mut self) {
        self.object.fold_names(&Fields::empty());
    }

    /// See [`Object::name_unknown`].
    pub(crate) fn name_unknown(&self, path: &str, give: &mut dyn FnMut(usize, String)) {
        self.object.name_unknown(path, give);
    }
}

impl Build for Structs {
    fn truncate(&mut self, length: usize) {
        self.object.truncate(length);
        self.nulls.truncate(length);
    }

    fn append_null(&mut self) {
        self.object.append_null();
        self.nulls.append_null();
    }

    fn append_json(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        self.object.append(cursor)?;
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        alone(text, |cursor| self.append_json(cursor))
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let length = self.object.len();
        let columns = self.object.finish()?;
        Ok(Arc::new(StructArray::try_new_with_length(
            self.fields.clone(),
            columns,
            self.nulls.finish(),
            length,
        )?))
    }
}

/// Reads a text that is one JSON value.
pub(crate) fn alone(
    text: &[u8],
    append: impl FnOnce(&mut Cursor<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut cursor = Cursor::new(text);
    cursor.space();
    append(&mut cursor)?;
    cursor.end()
}
