//! Where tables are known by name: which directory, which format, which columns, which partitions.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Context, Error, Predicate, Result};

/// A catalog as it stands in a sink's `catalog`, or under `[catalog]` in `tidegate.toml`.
#[async_trait]
pub trait CatalogConfig: Debug + Send + Sync {
    /// Checks what the JSON Schema can't. No I/O. Errors: `Config`.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Opens the catalog: connects and checks the permissions that can be checked. Changes nothing.
    async fn open(&self, cx: &Context) -> Result<Arc<dyn Catalog>>;
}

/// A table's name in a catalog: `shop_db.sales`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The database.
    pub database: String,
    /// The table within it.
    pub table: String,
}

impl TableName {
    /// A name of its two parts.
    pub fn new(database: impl Into<String>, table: impl Into<String>) -> Self {
        Self {
            database: database.into(),
            table: table.into(),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

impl FromStr for TableName {
    type Err = Error;

    /// Reads `database.table`. Errors: `Config`.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('.') {
            Some((database, table)) if !database.is_empty() && !table.is_empty() => {
                Ok(Self::new(database, table))
            }
            _ => Err(Error::config(format!("`{text}` is not a table's name"))
                .hint("write database.table")),
        }
    }
}

/// How a table's files are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TableFormat {
    /// Parquet.
    Parquet,
    /// One JSON object a line.
    Ndjson,
    /// Delimited text.
    Csv {
        /// What stands between fields; one byte.
        delimiter: char,
        /// Whether each file's first line names the columns.
        header: bool,
        /// Whether fields may be in double quotes.
        quoted: bool,
    },
}

impl TableFormat {
    /// The format's name in lower case, as Glue's `classification` has it: `parquet`, `json`, `csv`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Ndjson => "json",
            Self::Csv { .. } => "csv",
        }
    }
}

/// A table as a catalog knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatalogTable {
    /// Its name.
    pub name: TableName,
    /// The url or absolute path of its directory, without a `/` at the end.
    pub location: String,
    /// How its files are written.
    pub format: TableFormat,
    /// The columns of its files, without the partition keys. All are nullable.
    pub columns: SchemaRef,
    /// The columns that make its directories, outermost first.
    pub partition_keys: Vec<FieldRef>,
    /// What else is said of it (a comment, `classification`). Keys that Tidegate doesn't know are kept.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

impl CatalogTable {
    /// All columns as a query sees them: those of the files, then the partition keys.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns.fields().iter().chain(&self.partition_keys);
        Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
    }
}

/// One partition of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TablePartition {
    /// The values of the partition keys, in their order, as text; `None` is NULL.
    pub values: Vec<Option<String>>,
    /// The url or absolute path of its directory, without a `/` at the end.
    pub location: String,
}

/// A catalog that is open.
///
/// What it is told is merged into what it has and never replaces it: what another program added
/// stays. Everything but `drop_table` may be called again with the same values, by this process, by
/// its successor, or by a process that was fenced off: it then changes nothing.
///
/// Errors: `Auth`, `Transient`, `RateLimited` from anything; `Conflict` where a change of someone
/// else, which can't be merged, got in between. All may be called from several tasks at once.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// The name as this catalog would store it (Glue folds to lower case). No I/O.
    ///
    /// Errors: `Config` if it can't store it, with a hint that names one that it can.
    fn fold(&self, name: &str) -> Result<String>;

    /// The schema as it would come back if it were stored: names folded, types widened to those
    /// that the catalog has, every column nullable. No I/O.
    ///
    /// Errors: `Schema` for a type that it can't store (naming the column), or for two columns
    /// that fold to one name.
    fn storable(&self, schema: &Schema) -> Result<SchemaRef>;

    /// The names of the databases, sorted.
    async fn databases(&self) -> Result<Vec<String>>;

    /// The names of a database's tables, sorted; none if there is no such database.
    async fn tables(&self, database: &str) -> Result<Vec<String>>;

    /// The table, if there is one.
    async fn table(&self, name: &TableName) -> Result<Option<CatalogTable>>;

    /// Makes the table (and its database) if it isn't there. If it is, adds the columns that it
    /// doesn't have, at the end, and widens those whose type here is wider, as `tidegate-catalog`'s
    /// `merge` says; the location, the format and everything else stay.
    ///
    /// Errors: `Schema` if the two can't be merged (a text and a number; other partition keys).
    async fn merge(&self, table: &CatalogTable) -> Result<()>;

    /// Adds partitions. One that is there with these values stays as it is.
    ///
    /// Errors: `NotFound` without the table.
    async fn add_partitions(&self, table: &TableName, partitions: &[TablePartition]) -> Result<()>;

    /// The partitions, sorted by their values. `predicates` on partition keys are offers: it may
    /// leave out partitions that can't fulfil them, and need not.
    async fn partitions(
        &self,
        table: &CatalogTable,
        predicates: &[Predicate],
    ) -> Result<Vec<TablePartition>>;

    /// Forgets the partitions with these values; files stay. What isn't there is fine.
    async fn drop_partitions(
        &self,
        table: &TableName,
        values: &[Vec<Option<String>>],
    ) -> Result<()>;

    /// Forgets a table and its partitions; files stay. Says whether it was there.
    async fn drop_table(&self, name: &TableName) -> Result<bool>;
}
