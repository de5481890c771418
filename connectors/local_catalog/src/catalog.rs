//! The catalog over the file.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_catalog::{may_match_all, merge_tables};
use tidegate_core::{
    Catalog, CatalogTable, DEEPEST_IN_CATALOG, Error, Predicate, Result, TableName, TablePartition,
    check_depth,
};

use crate::store::{Store, failed};

/// A catalog in a file. It keeps names and types as they are.
#[derive(Debug)]
pub(crate) struct LocalCatalog {
    store: Store,
}

impl LocalCatalog {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Catalog for LocalCatalog {
    fn fold(&self, name: &str) -> Result<String> {
        if name.is_empty() || name.contains('\0') {
            let proposal = match name.replace('\0', "") {
                name if name.is_empty() => "unnamed".to_owned(),
                name => name,
            };
            return Err(Error::config("a name can't be empty, or have a NUL in it")
                .with("name", format!("{name:?}"))
                .hint(format!("call it `{proposal}`")));
        }
        Ok(name.to_owned())
    }

    fn storable(&self, schema: &Schema) -> Result<SchemaRef> {
        check_depth(schema, DEEPEST_IN_CATALOG)?;
        for (at, field) in schema.fields().iter().enumerate() {
            let name = self.fold(field.name()).map_err(|error| {
                Error::schema(error.message())
                    .with("column", at + 1)
                    .hint(error.hint_text().unwrap_or_default())
            })?;
            if schema.fields()[..at]
                .iter()
                .any(|other| *other.name() == name)
            {
                return Err(Error::schema(format!("two columns are called `{name}`"))
                    .with("column", name)
                    .hint("rename one of them"));
            }
        }
        let fields = schema.fields().iter();
        let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
        Ok(Arc::new(Schema::new_with_metadata(
            fields.collect::<Vec<_>>(),
            schema.metadata().clone(),
        )))
    }

    async fn databases(&self) -> Result<Vec<String>> {
        let read =
            |db: &Transaction<'_>| texts(db, "SELECT name FROM catalog_database ORDER BY name", []);
        self.store.read(read).await
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        let database = database.to_owned();
        let read = move |db: &Transaction<'_>| {
            let sql = "SELECT name FROM catalog_table WHERE database = ? ORDER BY name";
            texts(db, sql, [database])
        };
        self.store.read(read).await
    }

    async fn table(&self, name: &TableName) -> Result<Option<CatalogTable>> {
        let name = name.clone();
        self.store.read(move |db| find(db, &name)).await
    }

    async fn merge(&self, table: &CatalogTable) -> Result<()> {
        let mut table = table.clone();
        self.fold(&table.name.database)?;
        self.fold(&table.name.table)?;
        table.columns = self.storable(&table.columns)?;
        self.storable(&table.schema())?;
        self.store
            .write(move |db| {
                let merged = match find(db, &table.name)? {
                    Some(have) => merge_tables(&have, &table)?,
                    None => Some(table),
                };
                // What is there is enough.
                let Some(table) = merged else { return Ok(()) };
                let TableName {
                    database,
                    table: name,
                } = &table.name;
                db.execute(
                    "INSERT INTO catalog_database (name) VALUES (?) ON CONFLICT DO NOTHING",
                    [database],
                )
                .map_err(failed)?;
                db.execute(
                    "INSERT INTO catalog_table (database, name, definition) VALUES (?, ?, ?)
                     ON CONFLICT DO UPDATE SET definition = excluded.definition",
                    params![database, name, json(&table)?],
                )
                .map_err(failed)?;
                Ok(())
            })
            .await
    }

    async fn add_partitions(&self, table: &TableName, partitions: &[TablePartition]) -> Result<()> {
        let (name, partitions) = (table.clone(), partitions.to_vec());
        self.store
            .write(move |db| {
                let table = find(db, &name)?.ok_or_else(|| absent(&name))?;
                let mut insert = db
                    .prepare_cached(
                        "INSERT INTO catalog_partition (database, name, key, location)
                         VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    )
                    .map_err(failed)?;
                for TablePartition { values, location } in &partitions {
                    if values.len() != table.partition_keys.len() {
                        return Err(Error::schema(format!(
                            "a partition has {} values, and table `{name}` has {} keys",
                            values.len(),
                            table.partition_keys.len()
                        )));
                    }
                    insert
                        .execute(params![name.database, name.table, json(values)?, location])
                        .map_err(failed)?;
                }
                Ok(())
            })
            .await
    }

    async fn partitions(
        &self,
        table: &CatalogTable,
        predicates: &[Predicate],
    ) -> Result<Vec<TablePartition>> {
        let name = table.name.clone();
        let (keys, predicates) = (table.partition_keys.clone(), predicates.to_vec());
        self.store
            .read(move |db| {
                let mut select = db
                    .prepare_cached(
                        "SELECT key, location FROM catalog_partition
                         WHERE database = ? AND name = ?",
                    )
                    .map_err(failed)?;
                let mut rows = select
                    .query(params![name.database, name.table])
                    .map_err(failed)?;
                let mut found = Vec::new();
                while let Some(row) = rows.next().map_err(failed)? {
                    let values: Vec<Option<String>> = parse(&text(row, 0)?)?;
                    if may_match_all(&predicates, &keys, &values) {
                        let location = text(row, 1)?;
                        found.push(TablePartition { values, location });
                    }
                }
                found.sort();
                Ok(found)
            })
            .await
    }

    async fn drop_partitions(
        &self,
        table: &TableName,
        values: &[Vec<Option<String>>],
    ) -> Result<()> {
        let (name, values) = (table.clone(), values.to_vec());
        self.store
            .write(move |db| {
                let sql =
                    "DELETE FROM catalog_partition WHERE database = ? AND name = ? AND key = ?";
                let mut delete = db.prepare_cached(sql).map_err(failed)?;
                for values in &values {
                    delete
                        .execute(params![name.database, name.table, json(values)?])
                        .map_err(failed)?;
                }
                Ok(())
            })
            .await
    }

    async fn drop_table(&self, name: &TableName) -> Result<bool> {
        let name = name.clone();
        self.store
            .write(move |db| {
                // Its partitions go with it.
                let dropped = db.execute(
                    "DELETE FROM catalog_table WHERE database = ? AND name = ?",
                    params![name.database, name.table],
                );
                Ok(dropped.map_err(failed)? > 0)
            })
            .await
    }
}

fn find(db: &Transaction<'_>, name: &TableName) -> Result<Option<CatalogTable>> {
    let definition: Option<String> = db
        .query_row(
            "SELECT definition FROM catalog_table WHERE database = ? AND name = ?",
            params![name.database, name.table],
            |row| row.get(0),
        )
        .optional()
        .map_err(failed)?;
    definition.map(|text| parse(&text)).transpose()
}

fn absent(name: &TableName) -> Error {
    Error::not_found(format!("the local catalog has no table `{name}`"))
        .hint("`tidegate catalog list` shows its tables")
}

fn texts(db: &Transaction<'_>, sql: &str, of: impl rusqlite::Params) -> Result<Vec<String>> {
    let mut select = db.prepare_cached(sql).map_err(failed)?;
    let rows = select.query_map(of, |row| row.get(0)).map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

fn text(row: &Row<'_>, column: usize) -> Result<String> {
    row.get(column).map_err(failed)
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal("a table can't be written as JSON").because(error))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::conflict("an entry of the local catalog can't be read")
            .hint("it may have been written by another version of Tidegate")
            .because(error)
    })
}
