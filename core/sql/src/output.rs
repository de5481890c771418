//! What comes out of a query: plain names and plain types, so that every sink can take it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::Query;
use tidegate_core::{Error, Result};

use crate::error::two_columns;

/// The schema of a query's output, and the way of batches into it.
#[derive(Debug, Clone)]
pub struct Shape(SchemaRef);

impl Shape {
    /// The plain form of what a plan says it gives. Errors: `Config` for two columns of one name.
    pub(crate) fn new(planned: &Schema, query: &Query) -> Result<Self> {
        let mut seen = BTreeSet::new();
        for field in planned.fields() {
            if !seen.insert(field.name()) {
                return Err(two_columns(field.name(), Some(query)));
            }
        }
        let fields: Fields = planned.fields().iter().map(plain_field).collect();
        Ok(Self(Arc::new(Schema::new(fields))))
    }

    /// The schema.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    /// A batch as the plan gave it, in this shape. Columns are taken by position.
    pub fn fit(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = batch
            .columns()
            .iter()
            .zip(self.0.fields())
            .map(|(column, field)| fit(column, field.data_type()))
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema(), columns, &options).map_err(|error| {
            Error::internal("a batch doesn't have the columns that were planned").because(error)
        })
    }
}

fn fit(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    Ok(cast_with_options(column, wanted, &options)?)
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let plain = plain(field.data_type());
    if plain == *field.data_type() {
        return Arc::clone(field);
    }
    let nullable = field.is_nullable() || field.data_type().is_null();
    Arc::new(Field::new(field.name(), plain, nullable).with_metadata(field.metadata().clone()))
}

/// The type without views, dictionaries and runs.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        DataType::List(item) | DataType::ListView(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => {
            DataType::LargeList(plain_field(item))
        }
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain_field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        other => other.clone(),
    }
}
