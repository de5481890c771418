//! A stream's columns, and where each comes from in one file.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{Field, Fields, Schema, SchemaRef};
use tidegate_core::{Decoded, Error, Origin, Rejected, Result, Scan};
use tidegate_formats::row_to_json;

use super::adapt::{adapt, can_adapt, either};

/// The columns of a stream of files.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    /// All of them.
    pub(crate) schema: SchemaRef,
    /// Whether a file may lack columns, or have them in other cases or types, as a table's may.
    pub(crate) lenient: bool,
    /// The values of the last columns in all rows of the file, one row each: what its folder says.
    pub(crate) constants: Arc<[ArrayRef]>,
}

/// Where a column's values come from.
#[derive(Debug, Clone)]
pub(crate) enum From {
    /// The file's column of this number.
    File(usize),
    /// Nowhere.
    Missing,
    /// One row, for all rows.
    Constant(ArrayRef),
}

/// The field of this name, exactly or else whatever its case.
pub(crate) fn find(fields: &Fields, name: &str) -> Option<usize> {
    fields.find(name).map(|(at, _)| at).or_else(|| {
        let folded = name.to_lowercase();
        fields
            .iter()
            .position(|field| field.name().to_lowercase() == folded)
    })
}

impl Columns {
    /// Columns that every file must have exactly.
    pub(crate) fn exact(schema: SchemaRef) -> Self {
        Self {
            schema,
            lenient: false,
            constants: Arc::new([]),
        }
    }

    /// Those that files have.
    pub(crate) fn stored(&self) -> &[Arc<Field>] {
        let count = self.schema.fields().len() - self.constants.len();
        &self.schema.fields()[..count]
    }

    /// Where the column of number `at` comes from in a file with these columns.
    pub(crate) fn source(&self, at: usize, found: &Schema) -> Result<From> {
        let stored = self.stored();
        let Some(field) = stored.get(at) else {
            let constant = self.constants.get(at - stored.len());
            let constant = constant.ok_or_else(|| Error::internal("a column got lost"))?;
            return Ok(From::Constant(Arc::clone(constant)));
        };
        if self.lenient {
            let Some(place) = find(found.fields(), field.name()) else {
                return Ok(From::Missing);
            };
            let has = found.field(place).data_type();
            if !can_adapt(has, field.data_type()) {
                return Err(Error::schema(format!(
                    "column `{}` is {has} in the file, and {} in the table",
                    field.name(),
                    field.data_type()
                ))
                .hint("the file may belong to another table, or the table needs a wider type"));
            }
            return Ok(From::File(place));
        }
        let Ok(place) = found.index_of(field.name()) else {
            return Err(
                Error::schema(format!("the file has no column `{}`", field.name()))
                    .hint("read files of one kind together, or give the `schema` they share"),
            );
        };
        if found.field(place).data_type() != field.data_type() {
            return Err(Error::schema(format!(
                "column `{}` is {} in the file, and {} in the stream",
                field.name(),
                found.field(place).data_type(),
                field.data_type()
            ))
            .hint("read files of one kind together"));
        }
        Ok(From::File(place))
    }

    /// The columns that a scan asks for, in a file that has those of `found`. Errors: `Schema`,
    /// also for a column that isn't asked for.
    pub(crate) fn bind(&self, scan: &Scan, found: &Schema) -> Result<Bound> {
        let all = 0..self.schema.fields().len();
        let all = all
            .map(|at| self.source(at, found))
            .collect::<Result<Vec<_>>>()?;
        let mut places = Vec::new();
        let mut columns = Vec::new();
        for at in scan.indices(&self.schema)? {
            if let From::File(place) = all[at] {
                places.push(place);
            }
            columns.push(all[at].clone());
        }
        places.sort_unstable();
        places.dedup();
        // From here on, a file's column is counted among those that are read.
        for column in &mut columns {
            if let From::File(place) = column {
                *place = places.binary_search(place).unwrap_or_default();
            }
        }
        Ok(Bound {
            schema: scan.schema(&self.schema)?,
            columns,
            places,
        })
    }
}

/// The columns that are asked for, in one file.
#[derive(Debug)]
pub(crate) struct Bound {
    schema: SchemaRef,
    columns: Vec<From>,
    places: Vec<usize>,
}

impl Bound {
    /// The numbers of the file's columns that are to be read, in the file's order.
    pub(crate) fn places(&self) -> &[usize] {
        &self.places
    }

    /// Makes rows of the stream from the columns that were read.
    ///
    /// Rows with a value that the stream's type can't hold are rejected: their origin is
    /// `origin(row)`.
    pub(crate) fn arrange(
        &self,
        read: &RecordBatch,
        origin: impl Fn(usize) -> Origin,
    ) -> Result<Decoded> {
        let rows = read.num_rows();
        let mut lost = None;
        let mut columns = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            columns.push(match column {
                From::Missing => new_null_array(field.data_type(), rows),
                From::Constant(value) => repeated(value, rows)?,
                From::File(place) => {
                    let adapted = adapt(read.column(*place), field.data_type())?;
                    lost = either(lost, adapted.lost);
                    adapted.column
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        let mut batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let mut rejected = Rejected::default();
        if let Some(lost) = lost {
            for row in lost.set_indices() {
                let reason = self.reason(read, row)?;
                rejected.push(row_to_json(read, row)?, reason, origin(row));
            }
            let kept = BooleanArray::new(!&lost, None);
            batch = arrow_select::filter::filter_record_batch(&batch, &kept)?;
        }
        let batches = if batch.num_rows() == 0 {
            vec![]
        } else {
            vec![batch]
        };
        Ok(Decoded { batches, rejected })
    }

    /// Which column of a row that is lost is to blame.
    fn reason(&self, read: &RecordBatch, row: usize) -> Result<String> {
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            let From::File(place) = column else {
                continue;
            };
            let value = read.column(*place).slice(row, 1);
            if adapt(&value, field.data_type())?.lost.is_some() {
                let mut text = array_value_to_string(&value, 0)?;
                if let Some((end, _)) = text.char_indices().nth(60) {
                    text.truncate(end);
                    text.push('…');
                }
                return Ok(format!(
                    "column `{}`: `{text}` doesn't fit into {}",
                    field.name(),
                    tidegate_formats::TypeSpec::from_arrow(field.data_type())
                ));
            }
        }
        Err(Error::internal("a row was rejected without a reason"))
    }
}

fn repeated(value: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    if value.is_null(0) {
        return Ok(new_null_array(value.data_type(), rows));
    }
    let zeros = UInt32Array::from_value(0, rows);
    Ok(arrow_select::take::take(value, &zeros, None)?)
}
