//! A stream's columns, and where each comes from in one file.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tidegate_catalog::{
    Adapted, UnknownColumn, adapt, can_adapt, either, known_part, matched, reads_as,
};
use tidegate_core::{Decoded, Error, NewColumns, Origin, Rejected, Result, Scan};
use tidegate_formats::{OnNewColumns, row_to_json};

/// The columns of a stream of files.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    /// All of them.
    pub(crate) schema: SchemaRef,
    /// Whether they were said, in a `schema` or by a catalog, so that a file's values are turned
    /// into their types and what doesn't fit is rejected. Else they were found in files, and a
    /// file's types have to be ones that they hold.
    pub(crate) lenient: bool,
    /// Whether their types were learnt from the files, and not given.
    pub(crate) learnt: bool,
    /// Columns whose times have no zone in the files, where the stream's have one.
    pub(crate) naive: Arc<[String]>,
    /// The values of the last columns in all rows of the file, one row each: what its directory says.
    pub(crate) constants: Arc<[ArrayRef]>,
    /// What files call columns that aren't read from them, because those values count.
    pub(crate) shadowed: Arc<[String]>,
    /// What is done about columns that files have besides; `None`: they don't matter.
    pub(crate) on_new: Option<Arc<OnNewColumns>>,
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

impl Columns {
    /// Columns that were found in the files.
    pub(crate) fn found(schema: SchemaRef) -> Self {
        Self {
            schema,
            lenient: false,
            learnt: true,
            naive: Arc::new([]),
            constants: Arc::new([]),
            shadowed: Arc::new([]),
            on_new: None,
        }
    }

    /// Those that files have.
    pub(crate) fn stored(&self) -> &[Arc<Field>] {
        let count = self.schema.fields().len() - self.constants.len();
        &self.schema.fields()[..count]
    }

    /// Where each column comes from in a file with these columns.
    ///
    /// A column that the file lacks is NULL there, as it is where several files are queried
    /// together. Errors: `Schema` where a column must not be NULL, or where the file has it in a
    /// type that isn't read as the stream's.
    pub(crate) fn sources(&self, found: &Schema) -> Result<Vec<From>> {
        let stored = self.stored();
        let places = matched(stored, found.fields());
        let stored = stored.iter().zip(places).map(|(field, place)| match place {
            Some(place) => {
                self.check(field, found.field(place).data_type())?;
                Ok(From::File(place))
            }
            None if field.is_nullable() => Ok(From::Missing),
            None => Err(Error::schema(format!(
                "the file has no column `{}`, which must not be NULL",
                field.name()
            ))
            .hint("read files of one kind together, or let the column be NULL in the `schema`")),
        });
        let constants = self.constants.iter();
        let constants = constants.map(|value| Ok(From::Constant(Arc::clone(value))));
        stored.chain(constants).collect()
    }

    /// Refuses a file's type that can't be read as a column's.
    fn check(&self, field: &Field, has: &DataType) -> Result<()> {
        let fits = match self.lenient {
            true => can_adapt(has, field.data_type()),
            false => reads_as(&known_part(has, field.data_type()), field.data_type()),
        };
        if fits {
            return Ok(());
        }
        let error = Error::schema(format!(
            "column `{}` is {has} in the file, and {} in the stream",
            field.name(),
            field.data_type()
        ));
        Err(error.hint(match self.lenient {
            true => "the file may belong elsewhere, or the column needs a wider type",
            false => "the types are those of other files: give them in `schema`, or read files of one kind together",
        }))
    }

    /// The columns that a scan asks for, in a file that has those of `found`. Errors: `Schema`,
    /// also for a column that isn't asked for.
    pub(crate) fn bind(&self, scan: &Scan, found: &Schema) -> Result<Bound> {
        let all = self.sources(found)?;
        let refused = match self.on_new.as_ref().map(|on_new| on_new.policy()) {
            Some(NewColumns::Reject) => UnknownColumn::all(self.schema.fields(), found.fields()),
            _ => Vec::new(),
        };
        let refused = refused.into_iter().map(|unknown| {
            let place = found.index_of(unknown.outermost())?;
            Ok((place, unknown))
        });
        let mut refused = refused.collect::<Result<Vec<_>>>()?;
        let mut places: Vec<_> = refused.iter().map(|(place, _)| *place).collect();
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
        let of_files = columns.iter_mut().filter_map(|column| match column {
            From::File(place) => Some(place),
            _ => None,
        });
        for place in of_files.chain(refused.iter_mut().map(|(place, _)| place)) {
            *place = places.binary_search(place).unwrap_or_default();
        }
        Ok(Bound {
            schema: scan.schema(&self.schema)?,
            columns,
            places,
            refused,
        })
    }
}

/// The columns that are asked for, in one file.
#[derive(Debug)]
pub(crate) struct Bound {
    schema: SchemaRef,
    columns: Vec<From>,
    places: Vec<usize>,
    /// Columns that no row may have a value of, and which of those that are read they are in.
    refused: Vec<(usize, UnknownColumn)>,
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
                    let adapted = taken(read.column(*place), field)?;
                    lost = either(lost, adapted.lost);
                    adapted.column
                }
            });
        }
        for (place, unknown) in &self.refused {
            let filled = unknown.filled(read.column(*place))?;
            if filled.count_set_bits() > 0 {
                lost = either(lost, Some(filled));
            }
        }
        let mut rejected = Rejected::default();
        let mut left = rows;
        if let Some(lost) = lost {
            for row in lost.set_indices() {
                let reason = self.reason(read, row)?;
                rejected.push(row_to_json(read, row)?, reason, origin(row));
            }
            let kept = BooleanArray::new(!&lost, None);
            left = kept.true_count();
            for column in &mut columns {
                *column = arrow_select::filter::filter(column, &kept)?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(left));
        let schema = Arc::clone(&self.schema);
        let batches = match left {
            0 => vec![],
            _ => vec![RecordBatch::try_new_with_options(
                schema, columns, &options,
            )?],
        };
        Ok(Decoded {
            batches,
            rejected,
            ..Decoded::default()
        })
    }

    /// Which column of a row that is lost is to blame.
    fn reason(&self, read: &RecordBatch, row: usize) -> Result<String> {
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            let From::File(place) = column else {
                continue;
            };
            let value = read.column(*place).slice(row, 1);
            if value.logical_null_count() > 0 && !field.is_nullable() {
                return Ok(format!(
                    "column `{}`: null, but the column must not be null",
                    field.name()
                ));
            }
            if taken(&value, field)?.lost.is_some() {
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
        for (place, unknown) in &self.refused {
            if unknown.filled(&read.column(*place).slice(row, 1))?.value(0) {
                return Ok(format!(
                    "column `{}`: the stream has no such column",
                    unknown.name()
                ));
            }
        }
        Err(Error::internal("a row was rejected without a reason"))
    }
}

/// A file's column as the stream's. Lost are also the NULLs of a column that has none.
fn taken(column: &ArrayRef, field: &Field) -> Result<Adapted> {
    let mut adapted = adapt(column, field.data_type())?;
    if !field.is_nullable()
        && let Some(nulls) = adapted.column.logical_nulls()
        && nulls.null_count() > 0
    {
        adapted.lost = either(adapted.lost, Some(!nulls.inner()));
    }
    Ok(adapted)
}

fn repeated(value: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    if value.is_null(0) {
        return Ok(new_null_array(value.data_type(), rows));
    }
    let zeros = UInt32Array::from_value(0, rows);
    Ok(arrow_select::take::take(value, &zeros, None)?)
}
