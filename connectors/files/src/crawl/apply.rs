//! What a crawl changes in a catalog.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use serde::Serialize;
use tidegate_catalog::{
    find, guessed_columns, guessed_together, is_guessed, is_unseen, matched, merge_tables,
};
use tidegate_core::{
    Catalog, CatalogTable, ErrorKind, Result, TableFormat, TableName, TablePartition,
};
use tidegate_storage::Location;

use super::report::{CrawlReport, CrawledTable};

/// One thing that a crawl changes in a catalog, or would.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
#[non_exhaustive]
pub enum Change {
    /// There was no such table.
    NewTable {
        /// The table as the catalog has it.
        table: CatalogTable,
        /// How many partitions it gets.
        partitions: u64,
    },
    /// The table gets columns.
    NewColumns {
        /// The table.
        table: TableName,
        /// The columns, at the end of those that it has.
        columns: Vec<FieldRef>,
    },
    /// A column gets a type that holds more.
    Widened {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// Its type so far.
        from: DataType,
        /// Its type now.
        to: DataType,
    },
    /// The files are written otherwise than those that were there before.
    Format {
        /// The table.
        table: TableName,
        /// The format so far.
        from: TableFormat,
        /// The format now.
        to: TableFormat,
    },
    /// The table gets partitions.
    NewPartitions {
        /// The table.
        table: TableName,
        /// The partitions.
        partitions: Vec<TablePartition>,
    },
    /// The catalog has partitions without files. They stay: drop them if they are meant to be gone.
    GonePartitions {
        /// The table.
        table: TableName,
        /// The partitions.
        partitions: Vec<TablePartition>,
    },
    /// The table stays as it is, because what was found contradicts it.
    Refused {
        /// The table.
        table: TableName,
        /// Why, in one sentence, and what to do about it.
        reason: String,
    },
}

/// What [`apply`] would change. Changes nothing.
///
/// Errors: those of the catalog; a table that it can't take is a [`Change::Refused`].
pub async fn diff(report: &CrawlReport, catalog: &dyn Catalog) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for found in &report.tables {
        changes.extend(compare(found, catalog).await?.changes);
    }
    Ok(changes)
}

/// Makes and extends the tables that were found, and says what has changed: what [`diff`] said. Once
/// more, it changes nothing.
pub async fn apply(report: &CrawlReport, catalog: &dyn Catalog) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for found in &report.tables {
        let compared = compare(found, catalog).await?;
        if let Some(table) = &compared.wanted {
            catalog.merge(table).await?;
            if !compared.partitions.is_empty() {
                catalog
                    .add_partitions(&table.name, &compared.partitions)
                    .await?;
            }
        }
        changes.extend(compared.changes);
    }
    Ok(changes)
}

/// A table that was found, beside what the catalog has.
#[derive(Default)]
struct Compared {
    changes: Vec<Change>,
    /// As it is to be merged; `None` if it can't be.
    wanted: Option<CatalogTable>,
    /// The new ones.
    partitions: Vec<TablePartition>,
}

impl Compared {
    fn refused(table: &TableName, reason: String) -> Self {
        Self {
            changes: vec![Change::Refused {
                table: table.clone(),
                reason,
            }],
            ..Self::default()
        }
    }
}

async fn compare(found: &CrawledTable, catalog: &dyn Catalog) -> Result<Compared> {
    let mut wanted = match stored(&found.table, catalog) {
        Ok(wanted) => wanted,
        // A type or a name that this catalog can't store is no reason to give up the other tables.
        Err(error) if matches!(error.kind(), ErrorKind::Schema | ErrorKind::Config) => {
            let hint = error.hint_text().map(|hint| format!("; {hint}"));
            let reason = format!("{}{}", error.message(), hint.unwrap_or_default());
            return Ok(Compared::refused(&found.table.name, reason));
        }
        Err(error) => return Err(error),
    };
    let Some(have) = catalog.table(&wanted.name).await? else {
        return Ok(Compared {
            changes: vec![Change::NewTable {
                table: wanted.clone(),
                partitions: found.partitions.len() as u64,
            }],
            wanted: Some(wanted),
            partitions: found.partitions.clone(),
        });
    };
    let name = wanted.name.clone();
    if place(&have.location)? != place(&wanted.location)? {
        let reason = format!(
            "a table of this name lies at {}; crawl with another prefix or database",
            have.location
        );
        return Ok(Compared::refused(&name, reason));
    }
    adopt(&mut wanted, &have);
    if is_guessed(&have) && is_guessed(&wanted) {
        wanted.columns = match guess_again(&wanted, found, &have, catalog) {
            Ok(columns) => columns,
            Err(error) => return Ok(Compared::refused(&name, error.message().to_owned())),
        };
    }
    let merged = match merge_tables(&have, &wanted) {
        Ok(merged) => merged,
        Err(error) => return Ok(Compared::refused(&name, error.message().to_owned())),
    };
    let mut changes = Vec::new();
    if let Some(merged) = merged {
        changes.extend(of_columns(&have, &merged));
        if merged.format != have.format {
            changes.push(Change::Format {
                table: name.clone(),
                from: have.format.clone(),
                to: merged.format,
            });
        }
    }
    let partitions = match wanted.partition_keys.is_empty() {
        true => Vec::new(),
        false => {
            let there = catalog.partitions(&have, &[]).await?;
            of_partitions(&name, found, there, &mut changes)?
        }
    };
    Ok(Compared {
        changes,
        wanted: Some(wanted),
        partitions,
    })
}

/// The table with names and types as the catalog would have them.
fn stored(table: &CatalogTable, catalog: &dyn Catalog) -> Result<CatalogTable> {
    let all = catalog.storable(&table.schema())?;
    let (columns, keys) = all.fields().split_at(table.columns.fields().len());
    Ok(CatalogTable {
        name: TableName::new(
            catalog.fold(&table.name.database)?,
            catalog.fold(&table.name.table)?,
        ),
        columns: Arc::new(Schema::new(columns.to_vec())),
        partition_keys: keys.to_vec(),
        ..table.clone()
    })
}

/// Takes over what was only guessed from the table that is there.
fn adopt(wanted: &mut CatalogTable, have: &CatalogTable) {
    let names = |keys: &[FieldRef]| {
        keys.iter()
            .map(|key| key.name().clone())
            .collect::<Vec<_>>()
    };
    if names(&wanted.partition_keys) == names(&have.partition_keys) {
        wanted.partition_keys.clone_from(&have.partition_keys);
    }
    if is_guessed(have) {
        return;
    }
    if let (TableFormat::Csv { .. }, TableFormat::Csv { .. }) = (&wanted.format, &have.format) {
        wanted.format = have.format.clone();
    }
    let guessed = have.format != TableFormat::Parquet;
    let fields = wanted.columns.fields().iter();
    let fields = fields.map(|field| match find(have.columns.fields(), field.name()) {
        Some(at) if guessed => Arc::clone(&have.columns.fields()[at]),
        _ => Arc::clone(field),
    });
    wanted.columns = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
}

/// Brings together what was guessed before and now: files that come later may show that a column has
/// another type.
fn guess_again(
    wanted: &CatalogTable,
    found: &CrawledTable,
    have: &CatalogTable,
    catalog: &dyn Catalog,
) -> Result<SchemaRef> {
    let before = guessed_columns(have);
    let now = found.table.columns.fields();
    let stored = wanted.columns.fields().iter();
    let mut columns: Vec<Field> = now
        .iter()
        .zip(stored)
        .map(|(now, stored)| now.as_ref().clone().with_name(stored.name()))
        .collect();
    for (before, at) in before.iter().zip(matched(&before, wanted.columns.fields())) {
        if let Some(at) = at {
            let column = &mut columns[at];
            let both = match (is_unseen(have, before), is_unseen(&found.table, &now[at])) {
                (true, false) => column.data_type().clone(),
                (false, true) => before.data_type().clone(),
                _ => guessed_together(before.data_type(), column.data_type()),
            };
            *column = column.clone().with_name(before.name()).with_data_type(both);
        }
    }
    catalog.storable(&Schema::new(columns))
}

fn of_columns(have: &CatalogTable, merged: &CatalogTable) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut columns = Vec::new();
    for field in merged.columns.fields() {
        match have.columns.field_with_name(field.name()) {
            Err(_) => columns.push(Arc::clone(field)),
            Ok(had) if had.data_type() != field.data_type() => changes.push(Change::Widened {
                table: have.name.clone(),
                column: field.name().clone(),
                from: had.data_type().clone(),
                to: field.data_type().clone(),
            }),
            Ok(_) => {}
        }
    }
    if !columns.is_empty() {
        changes.push(Change::NewColumns {
            table: have.name.clone(),
            columns,
        });
    }
    changes
}

/// Notes which partitions are new and which are gone, and gives the new ones.
fn of_partitions(
    table: &TableName,
    found: &CrawledTable,
    there: Vec<TablePartition>,
    changes: &mut Vec<Change>,
) -> Result<Vec<TablePartition>> {
    let known: BTreeSet<_> = there.iter().map(|partition| &partition.values).collect();
    let seen: BTreeSet<_> = found.partitions.iter().map(|p| &p.values).collect();
    let new: Vec<_> = found
        .partitions
        .iter()
        .filter(|partition| !known.contains(&partition.values))
        .cloned()
        .collect();
    // A partition that lies elsewhere wasn't looked for.
    let root = place(&found.table.location)?;
    let mut gone = Vec::new();
    for partition in there.iter().filter(|p| !seen.contains(&p.values)) {
        let lies = place(&partition.location)?;
        if lies.starts_with(&format!("{}/", root.trim_end_matches('/'))) {
            gone.push(partition.clone());
        }
    }
    if !new.is_empty() {
        changes.push(Change::NewPartitions {
            table: table.clone(),
            partitions: new.clone(),
        });
    }
    if !gone.is_empty() {
        changes.push(Change::GonePartitions {
            table: table.clone(),
            partitions: gone,
        });
    }
    Ok(new)
}

/// A location as it is compared: catalogs and people write one place in several ways.
fn place(location: &str) -> Result<String> {
    Ok(Location::parse(location, Path::new("/"))?.to_string())
}
