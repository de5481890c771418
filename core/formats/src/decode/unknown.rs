//! Columns that records have and the schema, which was learnt from a sample, hasn't.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use tidegate_core::{Error, ErrorKind, IgnoredColumn, NewColumns, Result};

use super::Fault;
use super::decoder::Places;
use crate::limit::check_columns;

/// What the readers of a stream do about columns that its schema doesn't have. They share one.
#[derive(Debug, Default)]
pub struct OnNewColumns {
    policy: NewColumns,
    /// Whether nothing can be added to the schema.
    fixed: bool,
    wider: Mutex<Option<SchemaRef>>,
}

impl OnNewColumns {
    /// With nothing met yet.
    pub fn new(policy: NewColumns) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// The same where the policy can't be to add columns.
    pub fn fixed(policy: NewColumns) -> Self {
        Self {
            fixed: true,
            ..Self::new(policy)
        }
    }

    /// What is done.
    pub fn policy(&self) -> NewColumns {
        self.policy
    }

    /// The schema with the columns that are to be added, where any were met.
    pub fn wider(&self) -> Option<SchemaRef> {
        let wider = self.wider.lock().unwrap_or_else(PoisonError::into_inner);
        wider.clone()
    }

    /// Lets these columns be ignored, or says why not. `found` is the schema that the rows would
    /// have by themselves.
    ///
    /// Errors: `Schema` where they are to fail; `SchemaChanged` where they are to be added, for
    /// which [`wider`](Self::wider) then has them.
    pub fn allow(
        &self,
        schema: &Schema,
        ignored: &[IgnoredColumn],
        found: impl FnOnce() -> Result<SchemaRef>,
    ) -> Result<()> {
        let Some(first) = ignored.first() else {
            return Ok(());
        };
        let place = |mut error: Error| {
            if let Some(file) = &first.first.file {
                error = error.with("file", file);
            }
            match (first.first.line, first.first.offset) {
                (Some(line), _) => error.with("line", line),
                (None, Some(offset)) => error.with("offset", offset),
                (None, None) => error,
            }
        };
        match self.policy {
            NewColumns::Ignore | NewColumns::Reject => Ok(()),
            NewColumns::Fail => Err(place(Error::schema(format!(
                "there is a column `{}`, which the stream doesn't have",
                first.name
            )))
            .hint(match self.fixed {
                true => "add it to the schema, or let `on_new_columns` say \"ignore\" or \"reject\"",
                false => {
                    "name it in `schema`, or let `on_new_columns` say \"ignore\", \"add\" or \"reject\""
                }
            })),
            NewColumns::Add => {
                let found = found()?;
                let mut wider = self.wider.lock().unwrap_or_else(PoisonError::into_inner);
                let known = wider.as_deref().unwrap_or(schema);
                // What has only NULLs has no type yet.
                let has_values = |path: &str| ignored.iter().any(|column| column.name == path);
                let fields = merge(known.fields(), found.fields(), "", &has_values);
                if fields == schema.fields {
                    // Of these values no type can be told: they are left out, and told of.
                    return Ok(());
                }
                check_columns(leaves(&fields)).map_err(place)?;
                *wider = Some(Arc::new(Schema::new(fields)));
                Err(place(Error::new(
                    ErrorKind::SchemaChanged,
                    format!("the column `{}` came up", first.name),
                )))
            }
        }
    }
}

fn leaves(fields: &Fields) -> usize {
    let of = |field: &Arc<Field>| match field.data_type() {
        DataType::Struct(members) => leaves(members).max(1),
        _ => 1,
    };
    fields.iter().map(of).sum()
}

/// The fields of a schema and those that only another one has, members of structs too. They may all
/// be NULL.
pub fn with_new(known: &Fields, found: &Fields) -> Fields {
    merge(known, found, "", &|_| true)
}

/// The same, but only with those whose path `wanted` says.
fn merge(known: &Fields, found: &Fields, path: &str, wanted: &dyn Fn(&str) -> bool) -> Fields {
    let mut fields: Vec<_> = known.iter().cloned().collect();
    for field in found {
        let path = within(path, field.name());
        match fields.iter_mut().find(|other| other.name() == field.name()) {
            None if wanted(&path) => {
                fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
            }
            None => {}
            Some(known) => {
                let both = merge_members(known.data_type(), field.data_type(), &path, wanted);
                if let Some(both) = both {
                    *known = Arc::new(Field::clone(known).with_data_type(both));
                }
            }
        }
    }
    fields.into()
}

fn merge_members(
    known: &DataType,
    found: &DataType,
    path: &str,
    wanted: &dyn Fn(&str) -> bool,
) -> Option<DataType> {
    match (known, found) {
        (DataType::Struct(known), DataType::Struct(found)) => {
            Some(DataType::Struct(merge(known, found, path, wanted)))
        }
        (DataType::List(known), DataType::List(found)) => {
            let items = merge_members(known.data_type(), found.data_type(), path, wanted)?;
            let items = Field::clone(known).with_data_type(items);
            Some(DataType::List(Arc::new(items)))
        }
        _ => None,
    }
}

/// The path of a member of what is at `path`.
pub(crate) fn within(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// What a decoder knows of the columns that its schema doesn't have.
#[derive(Debug, Clone)]
pub(crate) struct Learnt {
    pub(crate) on_new: Arc<OnNewColumns>,
    /// The names of columns that are known and not wanted.
    pub(crate) others: Arc<HashSet<String>>,
}

impl Learnt {
    pub(crate) fn unknown(&self) -> Unknown {
        Unknown {
            reject: self.on_new.policy == NewColumns::Reject,
            ..Unknown::default()
        }
    }
}

/// The values of unknown columns that were met in a chunk.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    reject: bool,
    /// The columns of those in the present row.
    met: Vec<usize>,
    columns: Vec<Met>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Met {
    values: u64,
    /// Where the first row begins that had one.
    start: usize,
}

impl Unknown {
    /// The number of another column.
    pub(crate) fn column(&mut self) -> usize {
        self.columns.push(Met::default());
        self.columns.len() - 1
    }

    /// Takes note of a value in the present row.
    pub(crate) fn meet(
        &mut self,
        column: usize,
        name: impl FnOnce() -> String,
    ) -> Result<(), Fault> {
        if self.reject {
            return Err(Fault::new("the stream has no such column").within(&name()));
        }
        self.met.push(column);
        Ok(())
    }

    /// The present row, which begins at `start`, was taken.
    #[inline]
    pub(crate) fn taken(&mut self, start: usize) {
        if !self.met.is_empty() {
            self.count(start);
        }
    }

    #[inline(never)]
    fn count(&mut self, start: usize) {
        for column in self.met.drain(..) {
            let met = &mut self.columns[column];
            if met.values == 0 {
                met.start = start;
            }
            met.values += 1;
        }
    }

    /// The present row was not taken.
    pub(crate) fn rejected(&mut self) {
        self.met.clear();
    }

    /// What was met, the first before others. `name` gives each column's name to what it is given,
    /// by the column's number.
    pub(crate) fn ignored(
        &self,
        places: Option<Places<'_>>,
        name: impl FnOnce(&mut dyn FnMut(usize, String)),
    ) -> Vec<IgnoredColumn> {
        if self.columns.iter().all(|met| met.values == 0) {
            return Vec::new();
        }
        let mut found = Vec::new();
        name(&mut |column, name| {
            let met = self.columns[column];
            if met.values > 0 {
                found.push((met, name));
            }
        });
        found.sort_by(|(a, a_name), (b, b_name)| (a.start, a_name).cmp(&(b.start, b_name)));
        let mut places = places;
        let columns = found.into_iter().map(|(met, name)| IgnoredColumn {
            name,
            values: met.values,
            first: places
                .as_mut()
                .map_or_else(Default::default, |places| places.origin(met.start)),
        });
        columns.collect()
    }
}
