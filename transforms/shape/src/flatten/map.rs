//! What is done to a batch.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, FieldRef, Schema, SchemaRef};
use arrow_select::nullif::nullif;
use tidegate_core::{Error, Input, Map, Mapped, Result, Scan};

use super::config::FlattenConfig;
use crate::inputs::Inputs;

/// The transform, typed against its inputs.
#[derive(Debug)]
pub(super) struct FlattenMap {
    inputs: Inputs,
    parts: Vec<Part>,
    output: SchemaRef,
}

/// What becomes of a column, or of a member.
#[derive(Debug)]
enum Part {
    /// It stays.
    Whole,
    /// It is a struct, and its members stand in its place.
    Members(Vec<Part>),
}

/// The columns that come out, with the path that each comes from.
struct Columns<'a> {
    separator: &'a str,
    fields: Vec<FieldRef>,
    paths: HashMap<String, String>,
}

impl FlattenMap {
    pub(super) fn new(config: &FlattenConfig, inputs: &[Input]) -> Result<Self> {
        let inputs = Inputs::new(inputs)?;
        let one = inputs.as_one();
        for name in config.columns.iter().flatten() {
            let field = one
                .column(name)
                .map_err(|error| error.with("key", "columns"))?;
            if !matches!(field.data_type(), DataType::Struct(_)) {
                return Err(Error::schema(format!(
                    "column `{name}` of `{}` is a {}, not a struct",
                    one.name,
                    field.data_type()
                ))
                .with("key", "columns"));
            }
        }
        let mut columns = Columns {
            separator: &config.separator,
            fields: Vec::new(),
            paths: HashMap::new(),
        };
        let mut parts = Vec::new();
        for field in inputs.schema().fields() {
            let chosen = config.columns.as_ref();
            let depth = match chosen.is_none_or(|names| names.contains(field.name())) {
                true => config.depth.unwrap_or(usize::MAX),
                false => 0,
            };
            parts.push(columns.add(field, field.name(), field.name(), depth)?);
        }
        let output = Arc::new(Schema::new(columns.fields));
        Ok(Self {
            inputs,
            parts,
            output,
        })
    }
}

impl Columns<'_> {
    /// Adds a column, or those of its members.
    fn add(&mut self, field: &FieldRef, name: &str, path: &str, depth: usize) -> Result<Part> {
        let members = match field.data_type() {
            DataType::Struct(members) if depth > 0 => members,
            _ => {
                if let Some(other) = self.paths.insert(name.to_owned(), path.to_owned()) {
                    return Err(Error::schema(format!(
                        "`{other}` and `{path}` would both be called `{name}`"
                    ))
                    .hint("set another `separator`, or rename one in a `sql` transform before"));
                }
                self.fields
                    .push(Arc::new(field.as_ref().clone().with_name(name)));
                return Ok(Part::Whole);
            }
        };
        let mut parts = Vec::with_capacity(members.len());
        for member in members {
            let name = format!("{name}{}{}", self.separator, member.name());
            let path = format!("{path}.{}", member.name());
            let mut within = Arc::clone(member);
            if field.is_nullable() && !member.is_nullable() {
                within = Arc::new(member.as_ref().clone().with_nullable(true));
            }
            if field.is_nullable() && !can_be_null(member.data_type()) {
                return Err(Error::schema(format!(
                    "`{path}` is a {}, which can't be NULL where what it is in is",
                    member.data_type()
                ))
                .hint("name the columns that are to be taken apart in `columns`"));
            }
            parts.push(self.add(&within, &name, &path, depth - 1)?);
        }
        Ok(Part::Members(parts))
    }
}

/// Whether an array of this type says itself which of its values are NULL.
fn can_be_null(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Union(..) | DataType::RunEndEncoded(..))
}

/// Appends a column, or its members. `around` says where what it is in is NULL.
fn take_apart(
    part: &Part,
    column: &ArrayRef,
    around: Option<&NullBuffer>,
    out: &mut Vec<ArrayRef>,
) -> Result<()> {
    match part {
        Part::Whole => out.push(match around {
            Some(around) if around.null_count() > 0 => {
                nullif(column, &BooleanArray::new(!around.inner(), None))?
            }
            _ => Arc::clone(column),
        }),
        Part::Members(parts) => {
            let nested = column.as_struct();
            let around = NullBuffer::union(around, nested.nulls());
            for (part, member) in parts.iter().zip(nested.columns()) {
                take_apart(part, member, around.as_ref(), out)?;
            }
        }
    }
    Ok(())
}

impl Map for FlattenMap {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    fn scan(&self, input: usize) -> Scan {
        self.inputs.scan(input)
    }

    fn map(&self, _: usize, batch: &RecordBatch) -> Result<Mapped> {
        let mut columns = Vec::with_capacity(self.output.fields().len());
        for (part, column) in self.parts.iter().zip(self.inputs.columns(batch)?) {
            take_apart(part, &column, None, &mut columns)?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let flat = RecordBatch::try_new_with_options(self.schema(), columns, &options)?;
        Ok(Mapped {
            batches: vec![flat],
            ..Mapped::default()
        })
    }
}
