//! The loop.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::try_unfold;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Error, Event, EventStream, Metrics, Offset, Result, Rows, Scan, Split, SplitData, StreamName,
};

use super::config::Sample;
use super::dice::Dice;
use crate::connect::Pool;
use crate::decode::Decoder;
use crate::discover::Table;
use crate::piece::Piece;
use crate::relation::{Origin, Relation};
use crate::retry::Retries;
use crate::select::{Order, Select};
use crate::sql;
use crate::types::{Column, Mapping};
use crate::wire::{Chunk, Connection};

const DOING: &str = "read a random row";

/// A table that gives rows to the loop.
#[derive(Debug, Clone)]
struct Sampled {
    stream: StreamName,
    table: Table,
    /// The stream's columns.
    columns: Vec<Column>,
    /// A condition of the user's on its rows.
    filter: Option<String>,
}

/// The loop over all tables. Its one split gives all streams; an offset is the number of rounds
/// that are done.
#[derive(Debug)]
pub(crate) struct Sampler {
    pool: Arc<Pool>,
    metrics: Arc<Metrics>,
    config: Sample,
    tables: Vec<Sampled>,
    mapping: Mapping,
}

/// What is fixed when the run begins: from how many rows each table draws.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Draws {
    rows: BTreeMap<String, u64>,
}

impl Sampler {
    /// Errors: `Config` for a table in `same_row_in` that isn't among `tables`.
    pub(crate) fn new(
        pool: Arc<Pool>,
        metrics: Arc<Metrics>,
        config: Sample,
        relations: &[Relation],
        mapping: Mapping,
    ) -> Result<Self> {
        let tables = relations
            .iter()
            .filter_map(|relation| match &relation.origin {
                Origin::Table(table) => Some(Sampled {
                    stream: relation.stream.clone(),
                    table: table.clone(),
                    columns: relation.columns.clone(),
                    filter: relation.filter.clone(),
                }),
                Origin::Query(_) => None,
            });
        let tables: Vec<_> = tables.collect();
        config.fits(tables.iter().map(|table| table.table.name.as_str()))?;
        Ok(Self {
            pool,
            metrics,
            config,
            tables,
            mapping,
        })
    }

    /// Whether its streams end.
    pub(crate) fn bounded(&self) -> bool {
        self.config.rounds.is_some()
    }

    /// The loop's split. Counts the rows of the tables, if the file doesn't say from how many to
    /// draw.
    pub(crate) async fn plan(&self, scans: &[Scan]) -> Result<Split> {
        let mut rows = BTreeMap::new();
        let mut loan = self.pool.lend().await?;
        let mut connection = None;
        for table in &self.tables {
            let name = table.table.name.clone();
            let wanted = scans.iter().any(|scan| scan.stream == table.stream);
            // Those that share a row number need each other's counts, read or not.
            if !wanted && !self.shares(&name) {
                continue;
            }
            let count = match (self.config.rows, &mut connection) {
                (Some(rows), _) => rows.get(),
                (None, Some(connection)) => count(connection, table).await?,
                (None, none) => count(none.insert(loan.connect(false).await?), table).await?,
            };
            rows.insert(name, count);
        }
        if let Some(connection) = connection {
            loan.give_back(connection);
        }
        let shared = rows.iter().filter(|(name, _)| self.shares(name));
        if let Some(least) = shared.map(|(_, count)| *count).min() {
            for (name, count) in &mut rows {
                if self.shares(name) {
                    *count = least;
                }
            }
        }
        let piece = Piece::Sample(Draws { rows });
        Ok(Split::new("sample", SplitData::encode(&piece)?))
    }

    fn shares(&self, table: &str) -> bool {
        self.config.same_row_in.iter().any(|one| one == table)
    }

    /// Draws round after round.
    pub(crate) fn read(
        &self,
        fixed: &Draws,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let round = resume.map_or(Ok(0), Offset::decode)?;
        let mut draws = Vec::new();
        for table in &self.tables {
            let Some(scan) = scans.iter().find(|scan| scan.stream == table.stream) else {
                continue;
            };
            let name = &table.table.name;
            let rows = *fixed.rows.get(name).ok_or_else(|| {
                Error::conflict("the loop was planned without a table that is read now")
                    .with("table", name)
                    .hint("begin anew: run with --restart")
            })?;
            let lane = match self.shares(name) {
                true => "same row".to_owned(),
                false => format!("row of {name}"),
            };
            draws.push(Draw {
                stream: table.stream.clone(),
                dice: Dice::new(self.config.seed, &lane),
                rows,
                select: select(table, scan)?,
                decoder: decoder(table, scan, self.mapping)?,
                short: false,
            });
        }
        let state = Loop {
            pool: Arc::clone(&self.pool),
            metrics: Arc::clone(&self.metrics),
            waits: Dice::new(self.config.seed, "wait"),
            config: self.config.clone(),
            draws,
            round,
            events: VecDeque::new(),
        };
        let events = try_unfold(state, |mut state| async move {
            Ok(state.next().await?.map(|event| (event, state)))
        });
        Ok(events.boxed())
    }
}

/// One table of the loop that is read.
#[derive(Debug)]
struct Draw {
    stream: StreamName,
    dice: Dice,
    rows: u64,
    /// All but the number of the row.
    select: String,
    decoder: Arc<Decoder>,
    /// Whether it was said that it has too few rows.
    short: bool,
}

#[derive(Debug)]
struct Loop {
    pool: Arc<Pool>,
    metrics: Arc<Metrics>,
    config: Sample,
    waits: Dice,
    draws: Vec<Draw>,
    /// How many are done.
    round: u64,
    /// Of the last round, not yet given.
    events: VecDeque<Event>,
}

impl Loop {
    async fn next(&mut self) -> Result<Option<Event>> {
        if self.events.is_empty() {
            if self
                .config
                .rounds
                .is_some_and(|rounds| self.round >= rounds.get())
            {
                return Ok(None);
            }
            let every = self.config.every;
            let wait = self.waits.time(self.round, every.least, every.most);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let drawn = self.draw_again().await?;
            self.round += 1;
            self.events = self.events_of(drawn)?;
        }
        Ok(self.events.pop_front())
    }

    /// A round's rows, the last with the position after the round.
    fn events_of(&self, drawn: Vec<(usize, Chunk)>) -> Result<VecDeque<Event>> {
        let after = Offset::encode(&self.round)?;
        if drawn.is_empty() {
            return Ok([Event::Progress(after)].into());
        }
        let last = drawn.len() - 1;
        let events = drawn.into_iter().enumerate().map(|(at, (draw, chunk))| {
            let bytes: usize = chunk.rows().map(<[u8]>::len).sum();
            self.metrics.bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
            let draw = &self.draws[draw];
            Event::Rows {
                stream: draw.stream.clone(),
                rows: Rows::Encoded(draw.decoder.work(chunk)),
                rejected: None,
                resume: (at == last).then(|| after.clone()),
            }
        });
        Ok(events.collect())
    }

    async fn draw_again(&mut self) -> Result<Vec<(usize, Chunk)>> {
        let mut retries = Retries::default();
        loop {
            let error = match self.draw(retries.is_retry()).await {
                Ok(drawn) => return Ok(drawn),
                Err(error) => error,
            };
            let Some(wait) = retries.after(&error, &self.metrics) else {
                return Err(error);
            };
            tracing::debug!(?error, round = self.round, "drawing again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Reads one round: for each table that has the row, which it is, and the row.
    async fn draw(&mut self, fresh: bool) -> Result<Vec<(usize, Chunk)>> {
        let mut drawn = Vec::new();
        let mut loan = self.pool.lend().await?;
        let mut idle = None;
        for (at, draw) in self.draws.iter_mut().enumerate() {
            if draw.rows == 0 {
                continue;
            }
            let number = draw.dice.below(self.round, draw.rows);
            let connection = match idle.take() {
                Some(connection) => connection,
                None => loan.connect(fresh).await?,
            };
            let sql = format!("{} LIMIT {number}, 1", draw.select);
            let mut rows = connection.rows(DOING, &sql).await?;
            draw.decoder.expect(rows.columns())?;
            match rows.next(usize::MAX, usize::MAX).await? {
                Some(row) => {
                    drawn.push((at, row));
                    rows.next(usize::MAX, usize::MAX).await?;
                }
                None if !draw.short => {
                    draw.short = true;
                    tracing::warn!(
                        stream = %draw.stream,
                        row = number,
                        "the table has fewer rows than are drawn from: it gives none in such rounds"
                    );
                }
                None => {}
            }
            idle = rows.into_connection();
        }
        if let Some(connection) = idle {
            loan.give_back(connection);
        }
        Ok(drawn)
    }
}

async fn count(connection: &mut Connection, table: &Sampled) -> Result<u64> {
    let mut select = Select::new(&table.table, "COUNT(*)");
    select.conditions.extend(table.filter.clone());
    let sql = select.sql();
    let count = connection.value("count a table's rows", &sql).await?;
    let count = count.and_then(|count| count.parse().ok());
    count.ok_or_else(|| Error::internal("the server didn't answer with a number"))
}

/// The scan's columns of a table.
fn shown(table: &Sampled, scan: &Scan) -> Result<Vec<Column>> {
    let Some(names) = &scan.columns else {
        return Ok(table.columns.clone());
    };
    for name in names {
        if !table.columns.iter().any(|column| column.name == *name) {
            return Err(Error::schema(format!(
                "stream `{}` has no column `{name}`",
                table.stream
            )));
        }
    }
    let asked = table.columns.iter();
    let asked = asked.filter(|column| names.contains(&column.name));
    Ok(asked.cloned().collect())
}

/// What is selected: the columns asked for, or any one if only the number of rows matters.
fn selected(table: &Sampled, scan: &Scan) -> Result<(Vec<Column>, usize)> {
    let mut columns = shown(table, scan)?;
    let shown = columns.len();
    if columns.is_empty() {
        columns.extend(table.columns.first().cloned());
    }
    Ok((columns, shown))
}

fn decoder(table: &Sampled, scan: &Scan, mapping: Mapping) -> Result<Arc<Decoder>> {
    let (columns, shown) = selected(table, scan)?;
    Decoder::new(&table.table.name, columns, shown, mapping)
}

/// A SELECT of all rows, in an order that stays.
fn select(table: &Sampled, scan: &Scan) -> Result<String> {
    let (columns, _) = selected(table, scan)?;
    let list = sql::names(columns.iter().map(|column| &column.name));
    let order = Order::of_key(&table.table);
    let mut select = Select::new(&table.table, list);
    select.order = order.as_ref();
    // Otherwise the server may read an index that has all columns asked for, and so in another order
    // than with other columns.
    select.bare = table.table.engine.is_some();
    select.conditions.extend(table.filter.clone());
    Ok(select.sql())
}
