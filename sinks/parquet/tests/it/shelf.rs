//! A catalog in memory: `{ type = "shelf", lower = true, … }`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_catalog::merge_tables;
use tidegate_core::{
    Catalog, CatalogConfig, CatalogTable, Context, Error, Predicate, Result, TableName,
    TablePartition, async_trait,
};

/// A catalog in memory.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShelfConfig {
    /// Which one. Default: the one of the pipeline's directory.
    #[serde(default)]
    shelf: Option<String>,
    /// Whether names are stored in lower case.
    #[serde(default)]
    lower: bool,
}

tidegate_core::register_catalog!("shelf", ShelfConfig);

static SHELVES: LazyLock<Mutex<HashMap<String, Arc<Shelf>>>> = LazyLock::new(Mutex::default);

/// The tables of one catalog, and the changes made to them, in order.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) tables: Mutex<BTreeMap<TableName, (CatalogTable, BTreeSet<TablePartition>)>>,
}

pub(crate) fn shelf(name: &str) -> Arc<Shelf> {
    Arc::clone(SHELVES.lock().unwrap().entry(name.to_owned()).or_default())
}

impl Shelf {
    pub(crate) fn table(&self) -> CatalogTable {
        let tables = self.tables.lock().unwrap();
        tables.values().next().unwrap().0.clone()
    }

    /// `name: type` of the files' columns, then of the keys.
    pub(crate) fn columns(&self) -> Vec<String> {
        let schema = self.table().schema();
        let columns = schema.fields().iter();
        columns
            .map(|field| format!("{}: {}", field.name(), field.data_type()))
            .collect()
    }

    /// The partitions' directories, relative to the table's.
    pub(crate) fn directories(&self) -> Vec<String> {
        let tables = self.tables.lock().unwrap();
        let (table, partitions) = tables.values().next().unwrap();
        let directory = |one: &TablePartition| one.location[table.location.len() + 1..].to_owned();
        partitions.iter().map(directory).collect()
    }

    pub(crate) fn values(&self) -> Vec<Vec<Option<String>>> {
        let tables = self.tables.lock().unwrap();
        let (_, partitions) = tables.values().next().unwrap();
        partitions.iter().map(|one| one.values.clone()).collect()
    }

    /// As another program would leave it.
    pub(crate) fn change(&self, change: impl FnOnce(&mut CatalogTable)) {
        let mut tables = self.tables.lock().unwrap();
        change(&mut tables.values_mut().next().unwrap().0);
    }
}

pub(crate) fn column(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// Gives the table other columns.
pub(crate) fn with_columns(table: &mut CatalogTable, columns: Vec<Field>) {
    table.columns = Arc::new(Schema::new(columns));
}

#[async_trait]
impl CatalogConfig for ShelfConfig {
    async fn open(&self, cx: &Context) -> Result<Arc<dyn Catalog>> {
        let name = self.shelf.clone();
        let shelf = shelf(&name.unwrap_or_else(|| cx.base.display().to_string()));
        let lower = self.lower;
        Ok(Arc::new(Open { shelf, lower }))
    }
}

#[derive(Debug)]
struct Open {
    shelf: Arc<Shelf>,
    lower: bool,
}

#[async_trait]
impl Catalog for Open {
    fn fold(&self, name: &str) -> Result<String> {
        Ok(if self.lower {
            name.to_lowercase()
        } else {
            name.to_owned()
        })
    }

    fn storable(&self, schema: &Schema) -> Result<SchemaRef> {
        let fields = schema.fields().iter().map(|field| {
            let name = self.fold(field.name())?;
            Ok(Field::new(name, field.data_type().clone(), true))
        });
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
    }

    async fn databases(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn tables(&self, _: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn table(&self, name: &TableName) -> Result<Option<CatalogTable>> {
        let tables = self.shelf.tables.lock().unwrap();
        Ok(tables.get(name).map(|(table, _)| table.clone()))
    }

    async fn merge(&self, table: &CatalogTable) -> Result<()> {
        let mut tables = self.shelf.tables.lock().unwrap();
        match tables.get_mut(&table.name) {
            None => {
                tables.insert(table.name.clone(), (table.clone(), BTreeSet::new()));
            }
            Some((have, _)) => {
                if let Some(merged) = merge_tables(have, table)? {
                    *have = merged;
                }
            }
        }
        Ok(())
    }

    async fn add_partitions(&self, table: &TableName, partitions: &[TablePartition]) -> Result<()> {
        let mut tables = self.shelf.tables.lock().unwrap();
        let (_, have) = tables
            .get_mut(table)
            .ok_or_else(|| Error::not_found("no such table"))?;
        for partition in partitions {
            if have.iter().all(|one| one.values != partition.values) {
                have.insert(partition.clone());
            }
        }
        Ok(())
    }

    async fn partitions(
        &self,
        table: &CatalogTable,
        _: &[Predicate],
    ) -> Result<Vec<TablePartition>> {
        let tables = self.shelf.tables.lock().unwrap();
        let partitions = tables.get(&table.name).map(|(_, partitions)| partitions);
        Ok(partitions.into_iter().flatten().cloned().collect())
    }

    async fn drop_partitions(
        &self,
        table: &TableName,
        values: &[Vec<Option<String>>],
    ) -> Result<()> {
        let mut tables = self.shelf.tables.lock().unwrap();
        if let Some((_, partitions)) = tables.get_mut(table) {
            partitions.retain(|partition| !values.contains(&partition.values));
        }
        Ok(())
    }

    async fn drop_table(&self, name: &TableName) -> Result<bool> {
        Ok(self.shelf.tables.lock().unwrap().remove(name).is_some())
    }
}
