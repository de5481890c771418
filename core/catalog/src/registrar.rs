//! A sink's table in a catalog: compared before the first row, registered with each commit.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema};
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Catalog, CatalogTable, Context, Error, ErrorKind, Result, TableFormat, TableName,
    TablePartition,
};

use crate::fit::{Fit, folded};
use crate::{
    CatalogTarget, SchemaPolicy, check_key, directory, merge_tables, parse_directory, widen,
};

/// What a sink is about to write.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The url or absolute path of the directory, without a `/` at the end.
    pub location: String,
    /// How the files are written.
    pub format: TableFormat,
    /// The stream's columns, those that make directories among them.
    pub stream: &'a Schema,
    /// What becomes of a column's name before the catalog sees it.
    pub rename: fn(&str) -> String,
    /// The same columns, in the same order, renamed, in the types that the format's files have.
    pub columns: &'a Schema,
    /// The columns that make directories, outermost first.
    pub partition_by: &'a [String],
    /// Directories that are made of something else; their keys are text.
    pub directories: &'a [String],
    /// Whether a file's columns are found by their position, so that it must have all of the
    /// table's in their order.
    pub positional: bool,
}

/// What a commit tells the catalog: all of it fixed in the checkpoint, so that a replay says the
/// same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The table, with all columns that it is to have at least.
    pub table: CatalogTable,
    /// The partitions in which the commit's files lie.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<TablePartition>,
}

impl Registration {
    /// The same, with each table once: a run's epochs say the same of it but for the partitions.
    pub fn join(all: Vec<Self>) -> Vec<Self> {
        let mut joined: Vec<Self> = Vec::new();
        for more in all {
            match joined.iter_mut().find(|one| one.table == more.table) {
                Some(one) => one.partitions.extend(more.partitions),
                None => joined.push(more),
            }
        }
        for one in &mut joined {
            one.partitions.sort();
            one.partitions.dedup();
        }
        joined
    }
}

/// A table's place in a catalog, held by the sink that writes it.
///
/// ```text
/// open ── table, policy ──> Fit (how batches must look), or an error before the first row
/// prepare ── Registration ──> checkpoint
/// commit: publish files ─> register: merge, add partitions ─> delete files ─> forget
/// ```
pub struct Registrar {
    catalog: Arc<dyn Catalog>,
    /// The table as it is to be; `None` where commits of an earlier process are replayed.
    table: Option<CatalogTable>,
    /// Partitions of the table that lie elsewhere than their values say.
    elsewhere: HashMap<Vec<Option<String>>, String>,
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.as_ref().map(|table| &table.name);
        f.debug_struct("Registrar").field("table", &table).finish()
    }
}

impl Registrar {
    /// Opens the catalog and compares the table there with what is wanted, as the policy says.
    /// Changes nothing.
    ///
    /// Errors: `Schema`, naming the column, both types and the table, where the columns, the
    /// partition keys or the format can't be those of the table; `Config` where the table lies
    /// somewhere else, or a name can't be stored; what the catalog fails with.
    pub async fn open(
        target: &CatalogTarget,
        cx: &Context,
        wanted: &Wanted<'_>,
    ) -> Result<(Self, Fit)> {
        let catalog = target.open(cx).await?;
        let name = TableName::new(
            catalog.fold(&target.database)?,
            catalog.fold(&target.table)?,
        );
        let want = wanted.table(&*catalog, name.clone())?;
        let have = catalog.table(&name).await?;
        let table = match &have {
            None => want.clone(),
            Some(have) => agree(have, want.clone(), target.schema_policy)?,
        };
        let fit = wanted.fit(&*catalog, &want, &table)?;
        let mut elsewhere = HashMap::new();
        if have.is_some() && !table.partition_keys.is_empty() {
            let keys: Vec<_> = table.partition_keys.iter().map(|key| key.name()).collect();
            for partition in catalog.partitions(&table, &[]).await? {
                let expected =
                    format!("{}/{}", table.location, directory(&keys, &partition.values));
                if !same_place(&expected, &partition.location) {
                    elsewhere.insert(partition.values, partition.location);
                }
            }
        }
        let registrar = Self {
            catalog,
            table: Some(table),
            elsewhere,
        };
        Ok((registrar, fit))
    }

    /// Opens the catalog to replay commits.
    pub async fn replay(target: &CatalogTarget, cx: &Context) -> Result<Self> {
        Ok(Self {
            catalog: target.open(cx).await?,
            table: None,
            elsewhere: HashMap::new(),
        })
    }

    /// The table as it is to be; none if this was opened to replay commits.
    pub fn table(&self) -> Option<&CatalogTable> {
        self.table.as_ref()
    }

    /// The names of the partition keys, as the catalog has them.
    pub fn keys(&self) -> Vec<String> {
        let keys = self.table.iter().flat_map(|table| &table.partition_keys);
        keys.map(|key| key.name().clone()).collect()
    }

    /// What the catalog is to be told of files in these directories, relative to the table's.
    ///
    /// Errors: `Conflict` if the catalog has one of the partitions at another place, where its
    /// readers wouldn't see the files.
    pub fn registration<'a>(
        &self,
        directories: impl IntoIterator<Item = &'a str>,
    ) -> Result<Registration> {
        let table = self.table.clone().ok_or_else(|| {
            Error::internal("a table that was opened to replay commits was asked for partitions")
        })?;
        let mut partitions = Vec::new();
        for directory in directories {
            if directory.is_empty() {
                continue;
            }
            let values = partition_values(&table, directory).ok_or_else(|| {
                Error::internal("a directory doesn't have the table's partition keys")
                    .with("directory", directory)
            })?;
            let location = format!("{}/{directory}", table.location);
            if let Some(other) = self.elsewhere.get(&values)
                && !same_place(other, &location)
            {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("the partition `{directory}` of `{}` lies elsewhere", table.name),
                )
                .with("location", other)
                .with("written", location)
                .hint("drop that partition from the catalog, or move its files into the table's directory"));
            }
            partitions.push(TablePartition { values, location });
        }
        partitions.sort();
        partitions.dedup();
        Ok(Registration { table, partitions })
    }

    /// The partitions that these directories stand for; directories that aren't partitions are left out, and
    /// so are those that the catalog has elsewhere.
    pub fn partitions<'a>(
        &self,
        directories: impl IntoIterator<Item = &'a str>,
    ) -> Vec<TablePartition> {
        let Some(table) = &self.table else {
            return Vec::new();
        };
        let directories = directories
            .into_iter()
            .filter(|directory| !directory.is_empty());
        directories
            .filter_map(|directory| {
                let values = partition_values(table, directory)?;
                let location = format!("{}/{directory}", table.location);
                let other = self.elsewhere.get(&values);
                other
                    .is_none_or(|other| same_place(other, &location))
                    .then_some(TablePartition { values, location })
            })
            .collect()
    }

    /// Merges the table into the catalog and adds the partitions. Saying it again changes nothing.
    ///
    /// Errors: `Conflict` if the table was changed meanwhile so that the two can't be merged, or
    /// was made anew at another place; `Transient` if it was dropped in between.
    pub async fn register(&self, registration: &Registration) -> Result<()> {
        let Registration { table, partitions } = registration;
        let changed = |what: &str| {
            Error::new(
                ErrorKind::Conflict,
                format!("table `{}` {what} while this run wrote its files", table.name),
            )
            .hint("the files are there, and only not registered: bring the table back to what it was, then run the same command again")
        };
        let merged = self.catalog.merge(table).await;
        merged.map_err(|error| match error.kind() {
            ErrorKind::Schema => changed("got contradicting columns").because(error),
            _ => error,
        })?;
        match self.catalog.table(&table.name).await? {
            Some(now) if same_place(&now.location, &table.location) => {}
            Some(_) => return Err(changed("was moved")),
            None => return Err(dropped(&table.name)),
        }
        if partitions.is_empty() {
            return Ok(());
        }
        let added = self.catalog.add_partitions(&table.name, partitions).await;
        added.map_err(|error| match error.kind() {
            ErrorKind::NotFound => dropped(&table.name).because(error),
            _ => error,
        })
    }

    /// Forgets partitions that have no files any more.
    pub async fn forget(&self, table: &TableName, partitions: &[TablePartition]) -> Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        let values: Vec<_> = partitions.iter().map(|one| one.values.clone()).collect();
        match self.catalog.drop_partitions(table, &values).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

fn dropped(name: &TableName) -> Error {
    Error::transient(format!(
        "table `{name}` was dropped while it was registered"
    ))
}

/// The values that a directory of the table stands for, in the order of its keys; `None` if it isn't
/// a partition's.
pub fn partition_values(table: &CatalogTable, directory: &str) -> Option<Vec<Option<String>>> {
    let parts = parse_directory(directory)?;
    let keys = table.partition_keys.iter().map(|key| key.name());
    parts
        .iter()
        .map(|(key, _)| key)
        .eq(keys)
        .then(|| parts.into_iter().map(|(_, value)| value).collect())
}

/// Whether two texts name one directory.
fn same_place(one: &str, other: &str) -> bool {
    fn plain(text: &str) -> (&str, &str) {
        let text = text.trim_end_matches('/');
        match text.split_once("://") {
            None => ("file", text),
            Some(("s3a" | "s3n", rest)) => ("s3", rest),
            Some(("file", rest)) => ("file", rest.strip_prefix("localhost").unwrap_or(rest)),
            Some(other) => other,
        }
    }
    plain(one) == plain(other)
}

impl Wanted<'_> {
    /// What a column of the stream is called in the catalog.
    fn name(&self, catalog: &dyn Catalog, column: &str) -> Result<String> {
        catalog.fold(&(self.rename)(column))
    }

    /// The table as the catalog would store it.
    fn table(&self, catalog: &dyn Catalog, name: TableName) -> Result<CatalogTable> {
        let mut taken = HashMap::new();
        for field in self.stream.fields() {
            let stored = self.name(catalog, field.name())?;
            if let Some(other) = taken.insert(stored.clone(), field.name()) {
                return Err(folded(other, field.name(), &stored).with("table", &name));
            }
        }
        let stored = catalog
            .storable(self.columns)
            .map_err(|error| error.with("table", &name))?;
        let mut keys: Vec<FieldRef> = Vec::new();
        for column in self.partition_by {
            let index = self.stream.index_of(column)?;
            check_key(stored.field(index))?;
            keys.push(Arc::new(stored.field(index).clone()));
        }
        for key in self.directories {
            let folded = catalog.fold(key)?;
            if folded != *key {
                return Err(Error::config(format!(
                    "the directory `{key}=…` would be the partition key `{folded}` of table `{name}`"
                ))
                .with("key", "url")
                .hint(format!("write {folded}= in `url`")));
            }
            keys.push(Arc::new(Field::new(key, DataType::Utf8, true)));
        }
        let columns = stored.fields().iter().enumerate().filter(|(index, _)| {
            let name = self.stream.field(*index).name();
            !self.partition_by.contains(name)
        });
        let columns: Vec<_> = columns.map(|(_, field)| Arc::clone(field)).collect();
        for key in self.directories {
            if columns.iter().any(|column| column.name() == key) {
                return Err(Error::schema(format!(
                    "`{key}` is a column of the stream and a directory of `url`"
                ))
                .with("table", &name)
                .hint("name the directory otherwise, or leave the column out"));
            }
        }
        Ok(CatalogTable {
            name,
            location: self.location.clone(),
            format: self.format.clone(),
            columns: Arc::new(Schema::new(columns)),
            partition_keys: keys,
            properties: Default::default(),
        })
    }

    /// How the stream's batches become those of the table's files, followed by the columns that
    /// make directories.
    fn fit(&self, catalog: &dyn Catalog, want: &CatalogTable, table: &CatalogTable) -> Result<Fit> {
        let all = table.columns.fields().iter();
        let mut columns: Vec<FieldRef> = match self.positional {
            true => all.cloned().collect(),
            false => {
                let of_stream = want.columns.fields().iter();
                of_stream
                    .filter_map(|field| table.columns.field_with_name(field.name()).ok())
                    .map(|field| Arc::new(field.clone()))
                    .collect()
            }
        };
        if columns.is_empty() {
            return Err(Error::schema(format!(
                "none of the stream's columns is one of table `{}`",
                table.name
            )));
        }
        columns.extend(
            want.partition_keys[..self.partition_by.len()]
                .iter()
                .cloned(),
        );
        let fit = Fit::new(self.stream, &Schema::new(columns), |name| {
            self.name(catalog, name)
        });
        fit.map_err(|error| error.with("table", &table.name))
    }
}

/// The table as it is to be, of what it is and what the sink wants.
fn agree(
    have: &CatalogTable,
    mut want: CatalogTable,
    policy: SchemaPolicy,
) -> Result<CatalogTable> {
    let name = &have.name;
    if !same_place(&have.location, &want.location) {
        return Err(
            Error::config(format!("table `{name}` lies somewhere else than `url`"))
                .with("key", "url")
                .with("table's location", &have.location)
                .with("url", &want.location)
                .hint("write where the table lies, or give `catalog` another table"),
        );
    }
    // As the catalog spells it: it is what readers join the directories' names to.
    want.location.clone_from(&have.location);
    for (have, want) in have.partition_keys.iter().zip(&mut want.partition_keys) {
        let text = matches!(have.data_type(), DataType::Utf8);
        let wide = widen(have.data_type(), want.data_type());
        // Directories are text: a key may be less than what its values were.
        if have.name() == want.name() && (text || wide.as_ref() == Some(have.data_type())) {
            *want = Arc::clone(have);
        }
    }
    match policy {
        SchemaPolicy::Evolve => {
            for column in want.columns.fields() {
                contradiction(have, column)?;
            }
            Ok(merge_tables(have, &want)?.unwrap_or_else(|| have.clone()))
        }
        SchemaPolicy::Freeze => {
            frozen(have, &want)?;
            merge_tables(have, &want)?;
            Ok(have.clone())
        }
        SchemaPolicy::Reject => {
            // Formats and keys must agree all the same.
            let alike = CatalogTable {
                columns: Arc::clone(&have.columns),
                ..want
            };
            merge_tables(have, &alike)?;
            Ok(have.clone())
        }
    }
}

fn contradiction(have: &CatalogTable, column: &Field) -> Result<()> {
    let Ok(mine) = have.columns.field_with_name(column.name()) else {
        return Ok(());
    };
    if widen(mine.data_type(), column.data_type()).is_some() {
        return Ok(());
    }
    Err(Error::schema(format!(
        "column `{}` is {} in the stream and {} in table `{}`",
        column.name(),
        column.data_type(),
        mine.data_type(),
        have.name
    ))
    .hint("cast it with a `sql` transform, or let schema_policy = \"reject\" sort out the rows that don't fit"))
}

/// Refuses any difference of columns.
fn frozen(have: &CatalogTable, want: &CatalogTable) -> Result<()> {
    let refused = |what: String| {
        Error::schema(format!("{what}, and schema_policy = \"freeze\""))
            .with("table", &have.name)
            .hint("bring the stream to the table's columns with a `sql` transform, or choose schema_policy = \"evolve\"")
    };
    for column in want.columns.fields() {
        match have.columns.field_with_name(column.name()) {
            Err(_) => {
                return Err(refused(format!(
                    "the stream has a column `{}` ({}) that the table doesn't have",
                    column.name(),
                    column.data_type()
                )));
            }
            Ok(mine) if shape(mine.data_type()) == shape(column.data_type()) => {}
            Ok(mine) => {
                return Err(refused(format!(
                    "column `{}` is {} in the stream and {} in the table",
                    column.name(),
                    column.data_type(),
                    mine.data_type()
                )));
            }
        }
    }
    let missing = have.columns.fields().iter();
    let missing = missing
        .filter(|column| want.columns.field_with_name(column.name()).is_err())
        .map(|column| {
            format!(
                "the stream doesn't have the table's column `{}`",
                column.name()
            )
        })
        .next();
    match missing {
        Some(what) => Err(refused(what)),
        None => Ok(()),
    }
}

/// A type without what doesn't matter to a table: the names of a list's items and a map's entries,
/// and what may be NULL.
fn shape(data_type: &DataType) -> DataType {
    let field =
        |field: &Field, name: &str| Arc::new(Field::new(name, shape(field.data_type()), true));
    match data_type {
        DataType::List(item) => DataType::List(field(item, "element")),
        DataType::Struct(members) => {
            let members = members.iter().map(|member| field(member, member.name()));
            DataType::Struct(members.collect())
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let pair = vec![field(&pair[0], "key"), field(&pair[1], "value")];
                let entries = Field::new("key_value", DataType::Struct(pair.into()), false);
                DataType::Map(Arc::new(entries), false)
            }
            _ => data_type.clone(),
        },
        other => other.clone(),
    }
}
