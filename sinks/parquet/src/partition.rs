//! Rows apart by their partition columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::take::take_record_batch;
use tidegate_catalog::{NAME_LIMIT, NULL_PARTITION, check_key, directory_name, value_text};
use tidegate_core::{Error, Origin, Rejected, Result};
use tidegate_formats::row_to_json;

/// Which columns make the directories, and which go into the files.
#[derive(Debug)]
pub(crate) struct Partitioning {
    by: Vec<usize>,
    kept: Vec<usize>,
    schema: SchemaRef,
}

impl Partitioning {
    /// Fails with `Schema` where a column isn't there, or can't make directories, or none is left.
    pub(crate) fn new(input: &Schema, columns: &[String]) -> Result<Self> {
        let by = positions(input, columns)?;
        for index in &by {
            check_key(input.field(*index)).map_err(|error| error.with("key", "partition_by"))?;
        }
        let kept: Vec<_> = (0..input.fields().len())
            .filter(|index| !by.contains(index))
            .collect();
        if kept.is_empty() {
            return Err(Error::schema("no column is left for the files")
                .hint("`partition_by` must leave at least one column out"));
        }
        Ok(Self {
            schema: Arc::new(input.project(&kept)?),
            by,
            kept,
        })
    }

    /// The columns of the files.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether all rows go into one directory.
    pub(crate) fn is_none(&self) -> bool {
        self.by.is_empty()
    }
}

/// Where the columns of `partition_by` stand. Fails with `Schema` where one isn't there.
pub(crate) fn positions(input: &Schema, columns: &[String]) -> Result<Vec<usize>> {
    let position = |column: &String| {
        input.index_of(column).map_err(|_| {
            let names: Vec<_> = input.fields().iter().map(|f| f.name().as_str()).collect();
            Error::schema(format!(
                "`partition_by` names `{column}`, which isn't there"
            ))
            .with("key", "partition_by")
            .hint(format!("the columns are: {}", names.join(", ")))
        })
    };
    columns.iter().map(position).collect()
}

/// Takes batches apart; one for each writer.
#[derive(Debug)]
pub(crate) struct Partitioner {
    partitioning: Arc<Partitioning>,
    rows: Option<RowConverter>,
}

/// Rows of one batch that go into one directory.
#[derive(Debug)]
pub(crate) struct Part {
    /// `a=1/b=2`; empty without partitions.
    pub(crate) directory: String,
    /// The columns of the files.
    pub(crate) batch: RecordBatch,
}

impl Partitioner {
    pub(crate) fn new(partitioning: Arc<Partitioning>, input: &Schema) -> Result<Self> {
        let fields = partitioning.by.iter();
        let fields = fields.map(|index| SortField::new(input.field(*index).data_type().clone()));
        let rows = match partitioning.is_none() {
            true => None,
            false => Some(RowConverter::new(fields.collect())?),
        };
        Ok(Self { partitioning, rows })
    }

    /// The parts of a batch, in the order in which their directories are first met, and the rows
    /// whose values can't name a directory, as they were in `original`.
    pub(crate) fn split(
        &self,
        batch: &RecordBatch,
        original: &RecordBatch,
    ) -> Result<(Vec<Part>, Rejected)> {
        let kept = batch.project(&self.partitioning.kept)?;
        let mut rejected = Rejected::default();
        let Some(converter) = &self.rows else {
            let directory = String::new();
            let batch = kept;
            return Ok((vec![Part { directory, batch }], rejected));
        };
        let by = self.partitioning.by.iter();
        let by: Vec<_> = by.map(|index| Arc::clone(batch.column(*index))).collect();
        let rows = converter.convert_columns(&by)?;
        let mut groups: HashMap<_, usize> = HashMap::new();
        let mut members: Vec<Vec<u32>> = Vec::new();
        let mut last: Option<(_, usize)> = None;
        for (index, row) in (0_u32..).zip(rows.iter()) {
            // Neighbours are often alike, and comparing is cheaper than hashing.
            let group = match last {
                Some((before, group)) if before == row => group,
                _ => *groups.entry(row).or_insert_with(|| {
                    members.push(Vec::new());
                    members.len() - 1
                }),
            };
            members[group].push(index);
            last = Some((row, group));
        }
        let whole = members.len() == 1;
        let mut parts = Vec::with_capacity(members.len());
        for members in members {
            let directory = match self.directory(batch, members[0] as usize)? {
                Ok(directory) => directory,
                Err(reason) => {
                    for row in members {
                        let row = row_to_json(original, row as usize)?;
                        rejected.push(row, reason.as_str(), Origin::default());
                    }
                    continue;
                }
            };
            let batch = match whole {
                true => kept.clone(),
                false => take_record_batch(&kept, &UInt32Array::from(members))?,
            };
            parts.push(Part { directory, batch });
        }
        Ok((parts, rejected))
    }

    /// The directory of a row, or why it can't have one.
    fn directory(&self, batch: &RecordBatch, row: usize) -> Result<Result<String, String>> {
        let mut path = String::new();
        for index in &self.partitioning.by {
            let schema = batch.schema_ref();
            let column = schema.field(*index).name();
            let value = value_text(batch.column(*index), row)?;
            if value.as_deref() == Some(NULL_PARTITION) {
                return Ok(Err(format!(
                    "column `{column}`: a directory named `{NULL_PARTITION}` means NULL, and can't mean this text"
                )));
            }
            let name = directory_name(column, value.as_deref());
            if name.len() > NAME_LIMIT {
                return Ok(Err(format!(
                    "column `{column}`: too long to name a directory, which may have {NAME_LIMIT} bytes"
                )));
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&name);
        }
        Ok(Ok(path))
    }
}
