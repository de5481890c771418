//! Inputs whose columns are passed on.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Schema, SchemaRef};
use tidegate_core::{Error, Input, Result, Scan, batch_column};

/// Inputs that have the same columns, perhaps in another order, all of which are needed.
#[derive(Debug)]
pub(crate) struct Inputs {
    names: Vec<Arc<str>>,
    /// The columns in the first input's order. They may be NULL where they may in any input.
    schema: SchemaRef,
}

impl Inputs {
    /// Errors: `Config` for no input, `Schema` for columns that only some inputs have, or of another
    /// type there.
    pub(crate) fn new(inputs: &[Input]) -> Result<Self> {
        let Some((first, others)) = inputs.split_first() else {
            return Err(Error::config("it has no input"));
        };
        let mut fields = first.schema.fields().to_vec();
        for input in others {
            for field in input.schema.fields() {
                first.column(field.name())?;
            }
            for field in &mut fields {
                let other = input.column(field.name())?;
                if other.data_type() != field.data_type() {
                    return Err(Error::schema(format!(
                        "column `{}` is a {} in `{}` and a {} in `{}`",
                        field.name(),
                        field.data_type(),
                        first.name,
                        other.data_type(),
                        input.name
                    ))
                    .hint("cast one in a `sql` transform before"));
                }
                if other.is_nullable() && !field.is_nullable() {
                    *field = Arc::new(field.as_ref().clone().with_nullable(true));
                }
            }
        }
        Ok(Self {
            names: inputs.iter().map(|input| Arc::clone(&input.name)).collect(),
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// The columns that all inputs have.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the inputs are as one, whose columns can be asked for by name.
    pub(crate) fn as_one(&self) -> Input {
        Input {
            name: self.names.first().cloned().unwrap_or_else(|| "".into()),
            schema: Arc::clone(&self.schema),
        }
    }

    /// All columns of the `input`-th input.
    pub(crate) fn scan(&self, input: usize) -> Scan {
        Scan::all(self.names.get(input).map_or("", |name| name))
    }

    /// A batch's columns in the order of the schema.
    pub(crate) fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let fields = self.schema.fields().iter();
        fields
            .map(|field| batch_column(batch, field.name()).cloned())
            .collect()
    }
}
