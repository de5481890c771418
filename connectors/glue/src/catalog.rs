//! The catalog.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use aws_sdk_glue::types::Table;
use tidegate_catalog::{hive, merge_tables};
use tidegate_core::{Catalog, CatalogTable, Error, Predicate, Result, TableName, TablePartition};

use crate::api::{Api, Change};
use crate::{partitions, table};

/// How often a table is looked at again because somebody else changes it.
const TRIES: u32 = 12;

/// The longest wait between two of them, in milliseconds.
const LONGEST_WAIT: u64 = 1_000;

/// The Glue Data Catalog.
#[derive(Debug)]
pub(crate) struct GlueCatalog {
    api: Api,
}

impl GlueCatalog {
    pub(crate) fn new(api: Api) -> Self {
        Self { api }
    }

    fn folded_name(&self, name: &TableName) -> Result<TableName> {
        Ok(TableName::new(
            self.fold(&name.database)?,
            self.fold(&name.table)?,
        ))
    }

    /// The table as it would come back.
    fn folded(&self, table: &CatalogTable) -> Result<CatalogTable> {
        let name = self.folded_name(&table.name)?;
        // A key that is one of the columns too is refused here.
        self.storable(&table.schema())
            .map_err(|error| error.with("table", &name))?;
        let columns = self.storable(&table.columns)?;
        let keys = self.storable(&Schema::new(table.partition_keys.clone()))?;
        for (key, stored) in table.partition_keys.iter().zip(keys.fields()) {
            if stored.data_type().is_nested() {
                return Err(Error::schema(format!(
                    "`{}` is {}, which can't be a partition key",
                    key.name(),
                    key.data_type()
                ))
                .with("table", name)
                .hint("partition by a text, a number or a date"));
            }
        }
        Ok(CatalogTable {
            name,
            columns,
            partition_keys: keys.fields().to_vec(),
            ..table.clone()
        })
    }
}

impl GlueCatalog {
    /// Gives partitions (all, or those of these values) the columns that the table has by now.
    ///
    /// Partitions have no versions: whoever read an older table may have written over what a newer one
    /// asks for. So it is only done when a look finds nothing to do.
    async fn settle(&self, name: &TableName, values: Option<&[Vec<String>]>) -> Result<()> {
        for attempt in 0..TRIES {
            let found = self.api.table(name).await?.ok_or_else(|| absent(name))?;
            let table = table::read(&found)?;
            let changed = match values {
                Some(values) => partitions::align_these(&self.api, &table, values).await?,
                None => partitions::align(&self.api, &table).await?,
            };
            if changed == 0 {
                return Ok(());
            }
            if attempt > 0 {
                wait(attempt).await;
            }
        }
        Err(Error::transient(format!(
            "partitions of table `{name}` of Glue were changed by others {TRIES} times"
        )))
    }
}

#[async_trait]
impl Catalog for GlueCatalog {
    fn fold(&self, name: &str) -> Result<String> {
        hive::fold_name(name)
    }

    fn storable(&self, schema: &Schema) -> Result<SchemaRef> {
        hive::storable_schema(schema)
    }

    async fn databases(&self) -> Result<Vec<String>> {
        let mut names = self.api.databases().await?;
        names.sort_unstable();
        Ok(names)
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        let mut names = self.api.tables(&self.fold(database)?).await?;
        names.sort_unstable();
        Ok(names)
    }

    async fn table(&self, name: &TableName) -> Result<Option<CatalogTable>> {
        let found = self.api.table(&self.folded_name(name)?).await?;
        found.as_ref().map(table::read).transpose()
    }

    async fn merge(&self, table: &CatalogTable) -> Result<()> {
        let want = self.folded(table)?;
        for attempt in 0..TRIES {
            let Some(found) = self.api.table(&want.name).await? else {
                let made = self
                    .api
                    .create_table(&want.name, table::input(&want)?)
                    .await?;
                if made == Change::Done {
                    return Ok(());
                }
                wait(attempt).await;
                continue;
            };
            // What this has changed is looked at again too: a server that doesn't compare versions
            // may have let somebody else's change undo it.
            let Some(merged) = merge_tables(&table::read(&found)?, &want)? else {
                return Ok(());
            };
            // Before the table itself, so that a crash in between is made good by the next try.
            if !merged.partition_keys.is_empty() {
                partitions::align(&self.api, &merged).await?;
            }
            let input = table::changed(&found, &merged)?;
            let version = found.version_id();
            if self.api.update_table(&want.name, input, version).await? == Change::LookAgain {
                wait(attempt).await;
            } else if !merged.partition_keys.is_empty() {
                // And after it, for those that others made of the older table meanwhile.
                self.settle(&want.name, None).await?;
            }
        }
        Err(Error::transient(format!(
            "table `{}` of Glue was changed by others {TRIES} times while it was to be changed",
            want.name
        )))
    }

    async fn add_partitions(&self, table: &TableName, partitions: &[TablePartition]) -> Result<()> {
        let name = self.folded_name(table)?;
        let found = self.api.table(&name).await?.ok_or_else(|| absent(&name))?;
        let keys = found.partition_keys().len();
        if let Some(odd) = partitions.iter().find(|one| one.values.len() != keys) {
            return Err(Error::schema(format!(
                "a partition has {} values, and table `{name}` has {keys} keys",
                odd.values.len()
            )));
        }
        let descriptor = found.storage_descriptor().ok_or_else(|| {
            Error::unsupported(format!("table `{name}` of Glue isn't one of files"))
        })?;
        let added = partitions::add(&self.api, &name, descriptor, partitions).await?;
        // Whoever has changed the table since it was read may have done so before these were there;
        // and a try that ended here, or somebody with an older table, may have made the others.
        let now = self.api.table(&name).await?.ok_or_else(|| absent(&name))?;
        let columns = |table: &Table| table.storage_descriptor().map(|d| d.columns().to_vec());
        let unsure = match columns(&now) == columns(&found) {
            true => added.there,
            false => added.all,
        };
        match unsure.is_empty() {
            true => Ok(()),
            false => self.settle(&name, Some(&unsure)).await,
        }
    }

    async fn partitions(
        &self,
        table: &CatalogTable,
        predicates: &[Predicate],
    ) -> Result<Vec<TablePartition>> {
        if table.partition_keys.is_empty() {
            return Ok(Vec::new());
        }
        partitions::list(&self.api, table, predicates).await
    }

    async fn drop_partitions(
        &self,
        table: &TableName,
        values: &[Vec<Option<String>>],
    ) -> Result<()> {
        partitions::delete(&self.api, &self.folded_name(table)?, values).await
    }

    async fn drop_table(&self, name: &TableName) -> Result<bool> {
        self.api.delete_table(&self.folded_name(name)?).await
    }
}

fn absent(name: &TableName) -> Error {
    Error::not_found(format!("Glue has no table `{name}`"))
        .hint("`tidegate catalog list` shows its tables; check the region and the account, too")
}

/// Waits longer with each try, and not as long as others do.
async fn wait(attempt: u32) {
    let most = LONGEST_WAIT.min(25 << attempt.min(16));
    let random = RandomState::new().build_hasher().finish();
    let wait = most / 2 + random % (most / 2 + 1);
    tokio::time::sleep(Duration::from_millis(wait)).await;
}
