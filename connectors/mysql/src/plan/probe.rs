//! Small questions about an index.

use std::sync::Arc;

use tidegate_core::{Error, Result};

use crate::decode::Decoder;
use crate::discover::Table;
use crate::select::{Order, Range, Select};
use crate::sql;
use crate::types::{Column, Mapping};
use crate::wire::Connection;

/// Asks about one table, in one order.
#[derive(Debug)]
pub(super) struct Probe<'a> {
    table: &'a Table,
    pub(super) order: &'a Order,
    /// The order's columns.
    pub(super) columns: Vec<Column>,
    /// What narrows the order's index down, as SQL.
    condition: Option<String>,
    list: String,
    decoder: Arc<Decoder>,
    connection: Option<Connection>,
    /// How many questions were put.
    pub(super) asked: usize,
}

/// The first or the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    First,
    Last,
}

impl<'a> Probe<'a> {
    pub(super) fn new(
        connection: Connection,
        table: &'a Table,
        order: &'a Order,
        condition: Option<String>,
        mapping: Mapping,
    ) -> Result<Self> {
        let columns: Option<Vec<_>> = order
            .columns
            .iter()
            .map(|name| table.columns.iter().find(|c| c.name == *name).cloned())
            .collect();
        let columns = columns.ok_or_else(|| {
            Error::internal("a key has a column that its table doesn't have")
                .with("table", &table.name)
        })?;
        Ok(Self {
            table,
            order,
            decoder: Decoder::new(&table.name, columns.clone(), columns.len(), mapping)?,
            columns,
            condition,
            list: sql::names(&order.columns),
            connection: Some(connection),
            asked: 0,
        })
    }

    /// The connection, for the next one to ask.
    pub(super) fn into_connection(self) -> Option<Connection> {
        self.connection
    }

    fn select(&self, range: &Range) -> Select<'a> {
        let mut select = Select::new(self.table, self.list.as_str()).range(self.order, range);
        select.conditions.extend(self.condition.clone());
        select
    }

    /// About how many rows are in a range, as the server thinks from looking at the index's ends.
    pub(super) async fn count(&mut self, range: &Range) -> Result<u64> {
        let mut select = self.select(range);
        select.list = sql::column(self.table, &self.order.columns[0]);
        let asked = format!("EXPLAIN FORMAT=TRADITIONAL {}", select.sql());
        self.asked += 1;
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        let rows = connection.query("estimate a range", &asked).await?;
        let Some(row) = rows.first() else {
            return Ok(0);
        };
        // MySQL tells the partitions and how much is filtered, too.
        let at = if row.len() > 10 { 9 } else { 8 };
        let rows = row.get(at).and_then(|cell| cell.as_deref());
        Ok(rows.and_then(|rows| rows.parse().ok()).unwrap_or(0))
    }

    /// The first row's place in a range of those that fulfil `also`, so many rows on; or the last
    /// row's.
    pub(super) async fn place(
        &mut self,
        range: &Range,
        also: Option<String>,
        end: End,
        offset: u64,
    ) -> Result<Option<Vec<String>>> {
        let mut select = self.select(range);
        select.conditions.extend(also);
        select.backwards = end == End::Last;
        select.limit = Some(1);
        select.offset = offset;
        self.asked += 1;
        let connection = self.connection.take().ok_or_else(gone)?;
        let mut rows = connection.rows("look a key up", &select.sql()).await?;
        let mut place = None;
        while let Some(chunk) = rows.next(1, 1).await? {
            if let Some(row) = chunk.rows().next() {
                let all: Vec<_> = (0..self.columns.len()).collect();
                place = Some(self.decoder.literals(row, &all)?);
            }
        }
        self.connection = rows.into_connection();
        Ok(place)
    }

    /// A column of the order, as SQL.
    pub(super) fn column(&self, at: usize) -> String {
        sql::column(self.table, &self.order.columns[at])
    }
}

fn gone() -> Error {
    Error::transient("the connection was lost while the table was cut into ranges")
}
