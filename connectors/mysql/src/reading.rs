//! Reading a table or a query, and reading on when a connection is lost.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_core::{Error, Event, EventStream, Offset, Result, Rows, Scan, StreamName};

use crate::connect::Loan;
use crate::decode::{Decoder, then};
use crate::piece::RangeOffset;
use crate::pushdown;
use crate::relation::{Origin, Relation};
use crate::retry::Retries;
use crate::select::{Order, Range, Select, Window};
use crate::snapshot;
use crate::source::Shared;
use crate::sql;
use crate::types::Column;
use crate::wire;

/// A batch of narrow rows has no more than this.
const MOST_ROWS: usize = 64 << 10;

/// Reads a range of a table, from after `resume`.
pub(crate) fn range(
    shared: &Arc<Shared>,
    scans: &[Scan],
    stream: &StreamName,
    order: Order,
    range: Range,
    window: Option<Window>,
    resume: Option<&Offset>,
) -> Result<EventStream> {
    let position = resume.map(Offset::decode).transpose()?.unwrap_or_default();
    read(
        shared,
        scans,
        stream,
        Some((order, range)),
        window,
        position,
    )
}

/// Reads a whole table or a query.
pub(crate) fn whole(
    shared: &Arc<Shared>,
    scans: &[Scan],
    stream: &StreamName,
    window: Option<Window>,
) -> Result<EventStream> {
    read(shared, scans, stream, None, window, RangeOffset::default())
}

fn read(
    shared: &Arc<Shared>,
    scans: &[Scan],
    stream: &StreamName,
    range: Option<(Order, Range)>,
    window: Option<Window>,
    position: RangeOffset,
) -> Result<EventStream> {
    // Nobody needs it any more.
    let Some(scan) = scans.iter().find(|scan| scan.stream == *stream) else {
        return Ok(stream::empty().boxed());
    };
    let relation = shared.relation(stream)?;
    let asked = Asked::new(shared, relation, scan, range, window)?;
    let reading = Reading {
        shared: Arc::clone(shared),
        scans: scans.into(),
        asked,
        position,
        open: None,
        retries: Retries::default(),
    };
    let events = stream::try_unfold(reading, |mut reading| async move {
        let event = reading.next().await?;
        Ok(event.map(|event| (event, reading)))
    });
    let named = stream.clone();
    Ok(events
        .map_err(move |error: Error| error.with("stream", &named))
        .boxed())
}

/// What is asked of the server, and what becomes of the answer.
#[derive(Debug)]
struct Asked {
    stream: StreamName,
    relation: Relation,
    range: Option<(Order, Range)>,
    conditions: Vec<String>,
    /// The columns of the SELECT: those that are needed, and behind them the rest of the order's.
    list: String,
    decoder: Arc<Decoder>,
    /// Where the order's columns are among them.
    places: Vec<usize>,
    /// Which of the decoded columns are needed, if not all: a query is sent as it stands.
    kept: Option<Vec<usize>>,
    /// No more rows than this are needed.
    limit: Option<u64>,
}

impl Asked {
    fn new(
        shared: &Shared,
        relation: &Relation,
        scan: &Scan,
        range: Option<(Order, Range)>,
        window: Option<Window>,
    ) -> Result<Self> {
        let mapping = shared.mapping;
        let needed = |column: &&Column| {
            scan.columns
                .as_ref()
                .is_none_or(|names| names.contains(&column.name))
        };
        let (mut columns, kept): (Vec<Column>, _) = match &relation.origin {
            Origin::Table(_) => (
                relation.columns.iter().filter(needed).cloned().collect(),
                None,
            ),
            Origin::Query(_) => {
                let kept = scan.columns.is_some().then(|| {
                    let all = relation.columns.iter().enumerate();
                    all.filter(|(_, column)| needed(column))
                        .map(|(at, _)| at)
                        .collect()
                });
                (relation.columns.clone(), kept)
            }
        };
        let shown = columns.len();
        let mut places = Vec::new();
        let mut conditions = Vec::new();
        let mut exact = true;
        if let Origin::Table(table) = &relation.origin {
            for name in range.iter().flat_map(|(order, _)| &order.columns) {
                let place = columns.iter().position(|column| column.name == *name);
                places.push(place.unwrap_or(columns.len()));
                if place.is_none() {
                    let found = table.columns.iter().find(|column| column.name == *name);
                    columns.push(found.ok_or_else(|| changed(name))?.clone());
                }
            }
            // Rows without columns are still rows.
            if columns.is_empty() {
                columns.extend(table.columns.first().cloned());
            }
            conditions.extend(relation.filter.clone());
            conditions.extend(window.map(|window| window.condition(table)));
            let pushed = pushdown::conditions(&scan.predicates, relation, mapping);
            exact = pushed.exact;
            conditions.extend(pushed.conditions);
        } else if !scan.predicates.is_empty() {
            exact = false;
        }
        // A query that is left in the middle would cost the snapshot a connection.
        let cut = shared.snapshot.is_some() && matches!(relation.origin, Origin::Query(_));
        // Rows that are rejected don't count.
        let all_taken = columns.iter().all(|column| column.kind.takes_all(mapping));
        Ok(Self {
            stream: relation.stream.clone(),
            relation: relation.clone(),
            range,
            conditions,
            list: sql::names(columns.iter().map(|column| &column.name)),
            decoder: Decoder::new(relation.stream.as_str(), columns, shown, mapping)?,
            places,
            kept,
            limit: scan.limit.filter(|_| exact && all_taken && !cut),
        })
    }

    /// What is asked when so much was read.
    fn sql(&self, position: &RangeOffset) -> String {
        let table = match &self.relation.origin {
            Origin::Query(query) => return query.clone(),
            Origin::Table(table) => table,
        };
        let mut select = Select::new(table, self.list.as_str());
        if let Some((order, range)) = &self.range {
            select = select.range(order, &range.after(position.last.as_deref()));
        }
        select.conditions.extend(self.conditions.iter().cloned());
        select.limit = self.limit.map(|limit| limit.saturating_sub(position.rows));
        select.sql()
    }
}

/// A piece that is being read.
#[derive(Debug)]
struct Reading {
    shared: Arc<Shared>,
    /// Of everything that is read at the same time.
    scans: Arc<[Scan]>,
    asked: Asked,
    position: RangeOffset,
    open: Option<Open>,
    /// Since the last row.
    retries: Retries,
}

/// What is open meanwhile.
#[derive(Debug)]
struct Open {
    loan: Loan,
    rows: Option<wire::Rows>,
}

impl Reading {
    /// The next rows; `None` at the end.
    async fn next(&mut self) -> Result<Option<Event>> {
        let limit = self.asked.limit;
        let enough = limit.is_some_and(|limit| self.position.rows >= limit);
        // A SELECT of ours has the limit in it, so it ends now; and then its connection is given
        // back rather than lost.
        let ends = self.open.is_some() && matches!(self.asked.relation.origin, Origin::Table(_));
        if enough && !ends {
            return Ok(None);
        }
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) => {
                    self.retries.gained();
                    return self.event(chunk).map(Some);
                }
                Ok(None) => {
                    if let Some(Open { loan, rows }) = self.open.take()
                        && let Some(connection) = rows.and_then(wire::Rows::into_connection)
                    {
                        loan.give_back(connection);
                    }
                    return Ok(None);
                }
                Err(error) => self.lost(error).await?,
            }
        }
    }

    async fn chunk(&mut self) -> Result<Option<wire::Chunk>> {
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let loan = match &self.shared.snapshot {
                    None => self.shared.pool.lend().await?,
                    Some(snapshot) => {
                        // Planning is over, and these don't see what the snapshot sees.
                        self.shared.pool.close();
                        snapshot.lend(&self.scans).await?
                    }
                };
                none.insert(Open { loan, rows: None })
            }
        };
        let rows = match &mut open.rows {
            Some(rows) => rows,
            none => {
                let sql = self.asked.sql(&self.position);
                tracing::debug!(%sql, "reading");
                let connection = open.loan.connect(self.retries.is_retry()).await?;
                let rows = connection.rows("read rows", &sql).await?;
                self.asked.decoder.expect(rows.columns())?;
                none.insert(rows)
            }
        };
        rows.next(self.shared.batch, MOST_ROWS).await
    }

    /// Reads on over another connection after a while, if that can be: rows that were given can't be
    /// left out of a piece that has no order.
    async fn lost(&mut self, error: Error) -> Result<()> {
        if let Some(open) = &mut self.open {
            open.rows = None;
        }
        if self.shared.snapshot.is_some() {
            return Err(snapshot::of_reading(error));
        }
        let can = self.asked.range.is_some() || self.position.rows == 0;
        let again = self.retries.after(&error, &self.shared.metrics);
        let Some(wait) = again.filter(|_| can) else {
            return Err(altered(error));
        };
        // What waits to be used again is gone too, if it was the server.
        self.shared.pool.close();
        tracing::warn!(stream = %self.asked.stream, rows = self.position.rows, %error, ?wait, "reading on after a lost connection");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn event(&mut self, chunk: wire::Chunk) -> Result<Event> {
        let bytes: usize = chunk.rows().map(<[u8]>::len).sum();
        self.shared
            .metrics
            .bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
        let rows = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.position.rows = self.position.rows.saturating_add(rows);
        let resume = match (&self.asked.range, chunk.rows().next_back()) {
            (Some(_), Some(last)) => {
                let last = self.asked.decoder.literals(last, &self.asked.places)?;
                self.position.last = Some(last);
                Some(Offset::encode(&self.position)?)
            }
            _ => None,
        };
        let work = self.asked.decoder.work(chunk);
        Ok(Event::Rows {
            stream: self.asked.stream.clone(),
            rows: Rows::Encoded(match &self.asked.kept {
                None => work,
                Some(columns) => {
                    let columns = columns.clone();
                    then(work, move |batch| Ok(batch.project(&columns)?))
                }
            }),
            rejected: None,
            resume,
        })
    }
}

/// A column or an index that a table had when it was looked at is not there any more.
fn altered(error: Error) -> Error {
    const ER_BAD_FIELD_ERROR: u16 = 1054;
    const ER_KEY_DOES_NOT_EXIST: u16 = 1176;
    match wire::ServerError::code_of(&error) {
        Some(ER_BAD_FIELD_ERROR | ER_KEY_DOES_NOT_EXIST) => {
            Error::conflict("a table was altered while the run was on, so it can't be read on")
                .hint("start over with --restart")
                .because(error)
        }
        _ => error,
    }
}

fn changed(column: &str) -> Error {
    Error::conflict(format!(
        "the column `{column}` of the key by which a table was read is gone"
    ))
    .hint("the table has changed since the run began: start over with --restart")
}
