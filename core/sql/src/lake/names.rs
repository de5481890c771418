//! From the tables that a query names to tables.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Query, TableFactor, VisitMut, VisitorMut,
};
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_core::{Catalog, CatalogTable, Error, Result, TableName, suggest};

use super::files;
use super::places::Places;
use super::provider::{LakeTable, Notes};
use super::query::for_people;
use crate::error::missing;
use crate::session::UNNAMED;

/// Databases that are searched at once, and at most, for a table without its database.
const AT_ONCE: usize = 8;
const SEARCHED: usize = 50;

/// Where tables are found.
pub(crate) struct Finder<'a> {
    pub(crate) catalog: Option<&'a Arc<dyn Catalog>>,
    pub(crate) database: Option<&'a str>,
    pub(crate) places: &'a Arc<Places>,
    pub(crate) notes: &'a Notes,
}

/// A table, and what the query calls it now.
pub(crate) struct Named {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) table: Arc<LakeTable>,
}

/// Finds every table that a query names, and rewrites those names to what the tables are called.
pub(crate) async fn resolve(query: &mut Query, finder: &Finder<'_>) -> Result<Vec<Named>> {
    let mut written = Relations::default();
    let _: ControlFlow<()> = query.visit(&mut written);
    let mut found: Vec<Named> = Vec::new();
    let mut renames: Vec<(Vec<Ident>, Vec<Ident>)> = Vec::new();
    for parts in &written.relations {
        if renames.iter().any(|(before, _)| before == parts) {
            continue;
        }
        let bare = match parts.as_slice() {
            [only] => Some(&only.value),
            _ => None,
        };
        let with = bare.is_some_and(|name| written.with.contains(name));
        if with && !bare.is_some_and(|name| written.shadowed.contains(name)) {
            continue;
        }
        let mut named = match finder.find(parts).await {
            Ok(named) => named,
            Err(error) => return Err(at(as_path(error, parts), parts)),
        };
        if let (true, Some(name)) = (with, bare) {
            // Within `WITH sales AS (… FROM sales)` the name stays, for the planner to tell apart.
            named.schema = UNNAMED.to_owned();
            named.name.clone_from(name);
        }
        let after = match named.schema.as_str() {
            UNNAMED => vec![quoted(&named.name)],
            schema => vec![quoted(schema), quoted(&named.name)],
        };
        renames.push((parts.clone(), after));
        let known = |other: &Named| other.schema == named.schema && other.name == named.name;
        if !found.iter().any(known) {
            found.push(named);
        }
    }
    let _: ControlFlow<()> = query.visit(&mut Rename(&renames));
    Ok(found)
}

/// Whether a query names a table that only a catalog can know: something else than paths in
/// quotes. Errors: as for [`parse`](crate::parse).
pub fn needs_catalog(sql: &str) -> Result<bool> {
    let mut query = crate::parse::statement(sql).map_err(for_people)?;
    let mut written = Relations::default();
    let _: ControlFlow<()> = query.visit(&mut written);
    Ok(written
        .relations
        .iter()
        .any(|parts| match parts.as_slice() {
            [only] => {
                let with = written.with.contains(&only.value);
                !is_path(only) && (!with || written.shadowed.contains(&only.value))
            }
            _ => true,
        }))
}

impl Finder<'_> {
    async fn find(&self, parts: &[Ident]) -> Result<Named> {
        match parts {
            [path] if is_path(path) => {
                let Self { places, notes, .. } = self;
                let table = files::table(&path.value, places, notes).await?;
                Ok(Named {
                    schema: UNNAMED.to_owned(),
                    name: path.value.clone(),
                    table: Arc::new(table),
                })
            }
            [table] => match self.database {
                Some(database) => self.named(&TableName::new(database, &table.value)).await,
                None => self.anywhere(&table.value).await,
            },
            [database, table] => {
                self.named(&TableName::new(&database.value, &table.value))
                    .await
            }
            _ => Err(Error::config(format!(
                "a table's name has at most two parts, and not {}",
                parts.len()
            ))
            .hint("write database.table, or a path in quotes")),
        }
    }

    fn catalog(&self) -> Result<&Arc<dyn Catalog>> {
        self.catalog.ok_or_else(|| {
            Error::config("there is no catalog in which to find this table")
                .hint("write a path in quotes: FROM 'data/*.parquet'")
        })
    }

    async fn named(&self, name: &TableName) -> Result<Named> {
        let catalog = self.catalog()?;
        match lookup(catalog, name).await? {
            Some(table) => self.of_catalog(table),
            None => Err(self.unknown(name).await?),
        }
    }

    fn of_catalog(&self, table: CatalogTable) -> Result<Named> {
        let name = table.name.clone();
        let table = LakeTable::of_catalog(self.catalog()?, table, self.places, self.notes)?;
        Ok(Named {
            schema: name.database,
            name: name.table,
            table: Arc::new(table),
        })
    }

    /// A table of whichever database has it.
    async fn anywhere(&self, name: &str) -> Result<Named> {
        let catalog = self.catalog()?;
        let databases = catalog.databases().await?;
        if databases.len() > SEARCHED {
            return Err(Error::config(format!(
                "the catalog has {} databases: say which one `{name}` is in",
                databases.len()
            ))
            .hint(format!("write database.{name}, or give --database")));
        }
        let found: Vec<Option<CatalogTable>> = stream::iter(&databases)
            .map(|database| async move { lookup(catalog, &TableName::new(database, name)).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut found: Vec<CatalogTable> = found.into_iter().flatten().collect();
        if found.len() > 1 {
            let names: Vec<_> = found
                .iter()
                .map(|table| format!("`{}`", table.name))
                .collect();
            return Err(
                Error::config(format!("`{name}` can mean {}", names.join(" or ")))
                    .hint("write the table's full name"),
            );
        }
        if let Some(table) = found.pop() {
            return self.of_catalog(table);
        }
        let mut all = Vec::new();
        for database in &databases {
            let tables = catalog.tables(database).await?;
            all.extend(
                tables
                    .into_iter()
                    .map(|table| TableName::new(database, table)),
            );
        }
        let bare: Vec<&str> = all.iter().map(|known| known.table.as_str()).collect();
        if let Some(near) = suggest::nearest(name, bare) {
            let full = all.iter().find(|known| known.table == near);
            let full = full.map_or_else(|| near.to_owned(), ToString::to_string);
            return Err(Error::config(format!(
                "no table `{name}` in the catalog; there is `{full}`"
            )));
        }
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Err(none(
            missing("table", name, " in the catalog", &names),
            &names,
        ))
    }

    /// What to say of a table that isn't there.
    async fn unknown(&self, name: &TableName) -> Result<Error> {
        let catalog = self.catalog()?;
        let tables = catalog.tables(&name.database).await?;
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        if !tables.is_empty() {
            let place = format!(" in the database `{}`", name.database);
            return Ok(missing("table", &name.table, &place, &tables));
        }
        let databases = catalog.databases().await?;
        let databases: Vec<&str> = databases.iter().map(String::as_str).collect();
        let error = missing("database", &name.database, " in the catalog", &databases);
        Ok(none(error, &databases))
    }
}

fn none(error: Error, known: &[&str]) -> Error {
    match known {
        [] => error.hint("the catalog is empty: `tidegate catalog crawl` finds tables, and sinks with `catalog` make them"),
        _ => error,
    }
}

/// The table of this name, or else the one that differs only in case.
async fn lookup(catalog: &Arc<dyn Catalog>, name: &TableName) -> Result<Option<CatalogTable>> {
    let (Ok(database), Ok(table)) = (catalog.fold(&name.database), catalog.fold(&name.table))
    else {
        return Ok(None);
    };
    let name = TableName::new(database, table);
    if let Some(table) = catalog.table(&name).await? {
        return Ok(Some(table));
    }
    let Some(database) = alike(&name.database, catalog.databases().await?) else {
        return Ok(None);
    };
    let Some(table) = alike(&name.table, catalog.tables(&database).await?) else {
        return Ok(None);
    };
    catalog.table(&TableName::new(database, table)).await
}

/// The only name that is this one but for its case.
fn alike(name: &str, known: Vec<String>) -> Option<String> {
    if known.iter().any(|other| other == name) {
        return Some(name.to_owned());
    }
    let mut alike = known
        .into_iter()
        .filter(|other| other.to_lowercase() == name.to_lowercase());
    match (alike.next(), alike.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// Whether a name is a path: in single quotes, or in double quotes and plainly one.
fn is_path(name: &Ident) -> bool {
    match name.quote_style {
        Some('\'') => true,
        Some(_) => name.value.contains(['/', '*']) || name.value.ends_with(".parquet"),
        None => false,
    }
}

fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// An error of a name that looks like a file's, as somebody writes it who is used to no quotes.
fn as_path(error: Error, parts: &[Ident]) -> Error {
    const ENDINGS: [&str; 10] = [
        "csv", "tsv", "txt", "json", "ndjson", "jsonl", "parquet", "gz", "zst", "bz2",
    ];
    let names: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
    let name = names.join(".");
    let ending = name
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_lowercase());
    match ending {
        Some(ending) if ENDINGS.contains(&ending.as_str()) => {
            error.hint(format!("a path stands in single quotes: `FROM '{name}'`"))
        }
        _ => error,
    }
}

/// An error with its place in the text, unless it has one.
fn at(error: Error, parts: &[Ident]) -> Error {
    let start = parts.first().map(|first| first.span.start);
    match start {
        Some(start) if start.line > 0 && error.kind() == tidegate_core::ErrorKind::Config => {
            error.with("line", start.line).with("column", start.column)
        }
        _ => error,
    }
}

/// The tables that a query names, and the names that it gives by WITH.
#[derive(Default)]
struct Relations {
    relations: Vec<Vec<Ident>>,
    with: BTreeSet<String>,
    /// Those that read a table of their own name.
    shadowed: BTreeSet<String>,
}

impl VisitorMut for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = &table.alias.name.value;
            let mut inner = Self::default();
            let _: ControlFlow<()> = table.query.clone().visit(&mut inner);
            let reads_itself =
                |parts: &Vec<Ident>| matches!(parts.as_slice(), [only] if only.value == *name);
            if !recursive && inner.relations.iter().any(reads_itself) {
                self.shadowed.insert(name.clone());
            }
            self.with.insert(name.clone());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name, args: None, ..
        } = factor
            && let Some(parts) = idents(name)
        {
            self.relations.push(parts);
        }
        ControlFlow::Continue(())
    }
}

fn idents(name: &ObjectName) -> Option<Vec<Ident>> {
    let parts = name.0.iter().map(|part| match part {
        ObjectNamePart::Identifier(name) => Some(name.clone()),
        ObjectNamePart::Function(_) => None,
    });
    parts.collect()
}

struct Rename<'a>(&'a [(Vec<Ident>, Vec<Ident>)]);

impl VisitorMut for Rename<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name, args: None, ..
        } = factor
            && let Some(parts) = idents(name)
            && let Some((_, after)) = self.0.iter().find(|(before, _)| *before == parts)
        {
            let after = after.iter().cloned();
            name.0 = after.map(ObjectNamePart::Identifier).collect();
        }
        ControlFlow::Continue(())
    }
}
