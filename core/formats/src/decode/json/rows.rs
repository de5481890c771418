//! JSON documents one by one.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use tidegate_core::{IgnoredColumn, Result};

use super::super::{Learnt, OnNewColumns, Unknown};
use super::{Cursor, Object};

/// Gathers JSON documents into a batch, one row each.
///
/// ```
/// use std::sync::Arc;
/// use arrow_schema::{DataType, Field, Schema};
/// use tidegate_formats::JsonRows;
///
/// # fn main() -> tidegate_core::Result<()> {
/// let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int8, false)]));
/// let mut rows = JsonRows::new(schema, 2, false)?;
/// assert!(rows.push(br#"{"id": 1}"#).is_ok());
/// let reason = rows.push(br#"{"id": 1000}"#).unwrap_err();
/// assert_eq!(reason, "column `id`: `1000` doesn't fit into int8");
/// assert_eq!(rows.finish()?.num_rows(), 1);
/// # Ok(())
/// # }
/// ```
#[allow(missing_debug_implementations)]
pub struct JsonRows {
    schema: SchemaRef,
    object: Object,
    unknown: Option<Unknown>,
}

impl JsonRows {
    /// An empty batch, with room for `capacity` rows. For `exact` see
    /// [`Decoder::exact`](crate::Decoder::exact). Errors: `Schema` for types that JSON can't
    /// hold.
    pub fn new(schema: SchemaRef, capacity: usize, exact: bool) -> Result<Self> {
        Ok(Self {
            object: Object::new(schema.fields(), capacity, exact)?,
            schema,
            unknown: None,
        })
    }

    /// Does this about keys that no column has. Without it they are ignored without a word.
    pub fn on_new_columns(&mut self, on_new: &Arc<OnNewColumns>) {
        let learnt = Learnt {
            on_new: Arc::clone(on_new),
            others: Arc::default(),
        };
        self.unknown = Some(learnt.unknown());
    }

    /// Adds a document; if it can't be taken, says why, and the batch is as before.
    pub fn push(&mut self, document: &[u8]) -> Result<(), String> {
        if simdutf8::basic::from_utf8(document).is_err() {
            return Err("it is not valid UTF-8".to_owned());
        }
        let rows = self.object.len();
        let mut cursor = Cursor::new(document);
        cursor.unknown = self.unknown.take();
        cursor.space();
        let result = self
            .object
            .append(&mut cursor)
            .and_then(|()| cursor.end())
            .map_err(|fault| {
                self.object.truncate(rows);
                fault.to_string()
            });
        self.unknown = cursor.unknown;
        if let Some(unknown) = &mut self.unknown {
            match &result {
                Ok(()) => unknown.taken(0),
                Err(_) => unknown.rejected(),
            }
        }
        result
    }

    /// Adds a row whose values stand apart: for each column of the schema, in its order, the text of
    /// its JSON value, or `None` where there is none. If it can't be taken, says why, and the batch is
    /// as before.
    pub fn push_values(&mut self, values: &[Option<&str>]) -> Result<(), String> {
        let rows = self.object.len();
        self.object.append_values(values).map_err(|fault| {
            self.object.truncate(rows);
            fault.to_string()
        })
    }

    /// What the documents had that no column has.
    pub fn ignored(&self) -> Vec<IgnoredColumn> {
        let unknown = self.unknown.as_ref();
        let ignored =
            unknown.map(|unknown| unknown.ignored(None, |name| self.object.name_unknown("", name)));
        ignored.unwrap_or_default()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.object.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the batch, and is empty then.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.object.len()));
        let columns = self.object.finish()?;
        Ok(RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &options,
        )?)
    }
}
