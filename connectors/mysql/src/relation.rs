//! What a stream is read from.

use std::collections::BTreeMap;

use arrow_schema::{Schema, SchemaRef};
use tidegate_core::{Error, Result, StreamName};

use crate::config::{Lag, MySqlConfig, TableOptions, of_key};
use crate::discover::{self, Table};
use crate::select::Order;
use crate::sql;
use crate::types::{Column, Mapping};
use crate::wire::Connection;

/// A table or a query, with what the user said of it.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) stream: StreamName,
    pub(crate) origin: Origin,
    /// The columns that the stream shows, in the server's order.
    pub(crate) columns: Vec<Column>,
    /// The fields of these columns.
    pub(crate) schema: SchemaRef,
    /// The user's condition.
    pub(crate) filter: Option<String>,
    pub(crate) cursor: Option<Cursor>,
}

/// Where the rows are.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    Table(Table),
    Query(String),
}

/// By what the new rows are told from the old ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) column: Column,
    pub(crate) lag: Option<Lag>,
    /// The index that begins with it, if it can give rows in the order of cursor and primary key.
    pub(crate) index: Option<String>,
}

impl Relation {
    /// The table behind the stream, if there is one.
    pub(crate) fn named_table(&self) -> Option<(StreamName, &Table)> {
        match &self.origin {
            Origin::Table(table) => Some((self.stream.clone(), table)),
            Origin::Query(_) => None,
        }
    }

    /// The order in which it can be read on; none without a key, and for a query.
    pub(crate) fn key_order(&self) -> Option<Order> {
        match &self.origin {
            Origin::Table(table) => Order::of_key(table),
            Origin::Query(_) => None,
        }
    }

    /// The columns of the key by which it is read; none if there is no key.
    fn key(&self) -> Vec<&Column> {
        match &self.origin {
            Origin::Table(table) => key_of(table),
            Origin::Query(_) => Vec::new(),
        }
    }

    /// The key's columns, if the stream shows all of them.
    pub(crate) fn shown_key(&self) -> Vec<String> {
        let key = self.key();
        let shown = |column: &&Column| self.columns.iter().any(|one| one.name == column.name);
        match key.iter().all(shown) {
            true => key.iter().map(|column| column.name.clone()).collect(),
            false => Vec::new(),
        }
    }
}

fn key_of(table: &Table) -> Vec<&Column> {
    let key = table.key.iter().flat_map(|key| &key.columns);
    key.filter_map(|&at| table.columns.get(at)).collect()
}

/// Finds what `config` asks for.
///
/// Errors: `NotFound` for tables and columns that aren't there, `Config` for what can't be read as
/// it is asked for.
pub(crate) async fn find(
    connection: &mut Connection,
    database: Option<&str>,
    config: &MySqlConfig,
) -> Result<Vec<Relation>> {
    let mapping = config.mapping();
    let mut relations = Vec::new();
    if config
        .patterns()
        .is_none_or(|patterns| !patterns.is_empty())
    {
        let database = database.ok_or_else(|| {
            Error::config("it isn't said in which database the tables are")
                .hint("name it at the end of `url`, or by `database`")
        })?;
        let patterns = config.patterns().unwrap_or_default();
        let tables = discover::tables(connection, database, patterns, mapping).await?;
        if tables.is_empty() {
            return Err(Error::not_found("this user sees no table in the database")
                .with("database", database)
                .hint("check the name of the database, and the user's privileges by SHOW GRANTS"));
        }
        check_options(config, &tables)?;
        for table in tables {
            let options = options_of(config, &table.name)?;
            relations.push(of_table(connection, table, options, mapping).await?);
        }
    }
    for (name, query) in &config.queries {
        if relations.iter().any(|other| other.stream.as_str() == name) {
            return Err(of_key("queries", format!("there is a table `{name}` too"))
                .hint("give the query another name"));
        }
        let columns = discover::query(connection, query, mapping).await;
        let columns = columns.map_err(|error| error.with("query", name).with("key", "queries"))?;
        relations.push(Relation {
            stream: name.into(),
            schema: schema(&columns, mapping)?,
            columns,
            origin: Origin::Query(query.clone()),
            filter: None,
            cursor: None,
        });
    }
    Ok(relations)
}

/// Refuses what is said of tables that aren't read.
fn check_options(config: &MySqlConfig, tables: &[Table]) -> Result<()> {
    for name in config.table.keys() {
        if !tables.iter().any(|table| fits(name, &table.name)) {
            return Err(of_key(
                "table",
                format!("`table.{name}` fits no table that is read"),
            )
            .hint("`tables` says which tables are read; check both names"));
        }
    }
    Ok(())
}

/// What is said of a table: by its name, else by a pattern.
fn options_of(config: &MySqlConfig, table: &str) -> Result<TableOptions> {
    if let Some(options) = config.table.get(table) {
        return Ok(options.clone());
    }
    let mut fitting = config
        .table
        .iter()
        .filter(|(pattern, _)| fits(pattern, table));
    match (fitting.next(), fitting.next()) {
        (Some((one, _)), Some((other, _))) => Err(of_key(
            "table",
            format!("both `{one}` and `{other}` fit the table `{table}`"),
        )
        .hint("say by the table's own name what holds for it")),
        (Some((_, options)), None) => Ok(options.clone()),
        (None, _) => Ok(TableOptions::default()),
    }
}

/// Whether a name or a pattern is this table's.
fn fits(pattern: &str, table: &str) -> bool {
    pattern == table
        || globset::Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(table))
}

async fn of_table(
    connection: &mut Connection,
    table: Table,
    options: TableOptions,
    mapping: Mapping,
) -> Result<Relation> {
    let at = |error: Error| error.with("table", &table.name);
    if table.name == StreamName::REJECTED {
        return Err(
            Error::config("a table is named `rejected`, which no stream can be").hint(
                "read it by a query: `queries = { rejected_rows = \"SELECT * FROM rejected\" }`",
            ),
        );
    }
    let columns = match &options.columns {
        None => table.columns.clone(),
        Some(names) => {
            for name in names {
                column(&table, name).map_err(at)?;
            }
            let columns = table.columns.iter();
            columns
                .filter(|c| names.contains(&c.name))
                .cloned()
                .collect()
        }
    };
    if let Some(filter) = &options.filter {
        let from = sql::table(&table);
        let probe = format!("SELECT 1 FROM {from} WHERE {}", sql::group(filter));
        connection
            .describe("use `where`", &probe)
            .await
            .map_err(|error| {
                at(error).hint("`where` is a condition in the server's SQL, without the word WHERE")
            })?;
    }
    let cursor = match &options.cursor {
        None => None,
        Some(name) => {
            let column = column(&table, name).map_err(at)?.clone();
            check_cursor(&column, options.lag).map_err(at)?;
            let index = index_of(connection, &table, name).await.map_err(at)?;
            Some(Cursor {
                column,
                lag: options.lag,
                index,
            })
        }
    };
    Ok(Relation {
        stream: table.name.as_str().into(),
        schema: schema(&columns, mapping)?,
        columns,
        origin: Origin::Table(table),
        filter: options.filter,
        cursor,
    })
}

fn column<'a>(table: &'a Table, name: &str) -> Result<&'a Column> {
    let found = table.columns.iter().find(|column| column.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = table.columns.iter().map(|c| c.name.as_str()).collect();
        Error::not_found(format!("there is no column `{name}`"))
            .hint(format!("there are: {}", names.join(", ")))
    })
}

/// The index that gives rows in the order of a cursor, and of the primary key where it is equal.
///
/// InnoDB's other indexes hold the primary key behind their own columns, so one on the cursor alone
/// will do (MySQL and MariaDB manuals, "Use of Index Extensions").
async fn index_of(
    connection: &mut Connection,
    table: &Table,
    cursor: &str,
) -> Result<Option<String>> {
    let primary = table.key.as_ref().is_some_and(|key| key.index == "PRIMARY");
    if !primary || table.engine.as_deref() != Some("InnoDB") {
        return Ok(None);
    }
    let asked = format!(
        "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART, COLLATION, INDEX_TYPE \
         FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} \
         ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        sql::text(&table.database),
        sql::text(&table.name),
    );
    let rows = connection
        .query("ask for the cursor's index", &asked)
        .await?;
    let mut wanted = vec![cursor];
    wanted.extend(key_of(table).iter().map(|column| column.name.as_str()));
    let mut indexes: BTreeMap<&str, Vec<(&str, bool)>> = BTreeMap::new();
    for row in &rows {
        let cell = |at: usize| row.get(at).and_then(|cell| cell.as_deref());
        let (Some(index), Some(column)) = (cell(0), cell(1)) else {
            continue;
        };
        let plain = cell(2).is_none() && cell(3) == Some("A") && cell(4) == Some("BTREE");
        indexes.entry(index).or_default().push((column, plain));
    }
    let good = indexes.iter().find(|(_, columns)| {
        columns.len() <= wanted.len()
            && columns
                .iter()
                .zip(&wanted)
                .all(|((column, plain), wanted)| column == wanted && *plain)
    });
    Ok(good.map(|(index, _)| (*index).to_owned()))
}

fn check_cursor(column: &Column, lag: Option<Lag>) -> Result<()> {
    let name = &column.name;
    let (date, integer) = (column.kind.is_date(), column.kind.integer().is_some());
    match lag {
        None if date || integer => Ok(()),
        Some(Lag::Time(_)) if date => Ok(()),
        Some(Lag::Values(_)) if integer => Ok(()),
        Some(Lag::Values(_)) if date => {
            Err(Error::config(format!("the `lag` of `{name}` is a number"))
                .hint("`{name}` holds times: write a span, such as \"30s\""))
        }
        Some(Lag::Time(_)) if integer => {
            Err(Error::config(format!("the `lag` of `{name}` is a span"))
                .hint("it holds integers: write how many values, such as 1000"))
        }
        _ => Err(Error::config(format!(
            "`{name}` can't be a cursor: it is a {}",
            column.declared
        ))
        .hint("a cursor is a TIMESTAMP, a DATETIME, a DATE or an integer")),
    }
}

fn schema(columns: &[Column], mapping: Mapping) -> Result<SchemaRef> {
    let fields = columns.iter().map(|column| column.field(mapping));
    Ok(Schema::new(fields.collect::<Result<Vec<_>>>()?).into())
}
