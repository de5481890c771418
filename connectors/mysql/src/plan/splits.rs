//! The plan of a run.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_core::{Ask, Next, Plan, PlanState, Result, Split, SplitData};

use super::probe::Probe;
use super::ranges::{self, Aim, Part};
use super::window::{self, Memory};
use crate::discover::Table;
use crate::piece::Piece;
use crate::relation::{Origin, Relation};
use crate::select::{Order, Range, Window};
use crate::source::Shared;

/// A table of no more than this is one split.
const SMALL_ROWS: u64 = 50_000;
const SMALL_BYTES: u64 = 32 << 20;
/// And a split is no more than this, as long as there are not too many of them.
const LARGE_ROWS: u64 = 1_000_000;
const LARGE_BYTES: u64 = 256 << 20;
/// Splits for each connection, so that all of them end at about the same time.
const SHARES: u64 = 8;
const MOST_SPLITS: u64 = 4_096;

/// Whether what was stored is the memory of such a source.
pub(crate) fn understands(state: &PlanState) -> Result<()> {
    state.decode::<Memory>().map(drop)
}

/// The field of the memory that has an entry for each stream.
pub(crate) const REMEMBERED_UNDER: &str = Memory::STREAMS;

/// Plans a run: everything in the first answer.
///
/// `follow` notes the position of the binary log before this, adds `Piece::Binlog` after all of
/// these splits, and continues with it in later runs. `sample` gives `Piece::Sample` instead.
pub(crate) async fn plan(shared: &Arc<Shared>, ask: &Ask<'_>) -> Result<Plan> {
    let mut memory: Memory = match ask.state {
        Some(state) => state.decode()?,
        None => Memory::default(),
    };
    let mut new = Vec::new();
    if ask.first
        && let Some(sampler) = &shared.sampler
    {
        if !ask.scans.is_empty() {
            new.push(sampler.plan(ask.scans).await?);
        }
    } else if ask.first {
        let mut plans = Vec::new();
        for scan in ask.scans {
            plans.push(splits(shared, shared.relation(&scan.stream)?, &memory));
        }
        let planned = stream::iter(plans).buffered(shared.pool.most());
        let planned: Vec<_> = planned.try_collect().await?;
        let mut shared_out = Vec::new();
        for (scan, (splits, bookmark)) in ask.scans.iter().zip(planned) {
            // What can't be shared out is begun first.
            match shared.relation(&scan.stream)?.key_order() {
                None => new.extend(splits),
                Some(_) => shared_out.extend(splits),
            }
            memory.extend(bookmark);
        }
        new.extend(shared_out);
    }
    Ok(Plan {
        new,
        revoked: Vec::new(),
        state: PlanState::encode(&memory)?,
        next: Next::Complete,
    })
}

type Planned = (Vec<Split>, Option<(String, window::Bookmark)>);

async fn splits(shared: &Shared, relation: &Relation, memory: &Memory) -> Result<Planned> {
    let table = match &relation.origin {
        Origin::Query(_) => return Ok((vec![whole(relation, None, 0)?], None)),
        Origin::Table(table) => table,
    };
    let (window, bookmark) = match &relation.cursor {
        None => (None, None),
        Some(cursor) => {
            match window::find(shared, relation, table, cursor, memory).await? {
                // There are no rows.
                None => return Ok((Vec::new(), None)),
                Some((window, bookmark)) => (Some(window), Some(bookmark)),
            }
        }
    };
    let generation = bookmark.as_ref().map_or(0, |bookmark| bookmark.run);
    let named = bookmark.map(|bookmark| (relation.stream.to_string(), bookmark));
    let Some(key) = relation.key_order() else {
        return Ok((vec![whole(relation, window, generation)?], named));
    };
    let (order, parts) = parts(shared, relation, table, key, window.as_ref()).await?;
    let alone = parts.len() == 1;
    // Of other conditions nobody knows how many rows fulfil them.
    let told = relation.filter.is_none() && window.as_ref().is_none_or(|w| is_first(&order, w));
    let splits = parts.into_iter().enumerate().map(|(at, part)| {
        let piece = Piece::Range {
            stream: relation.stream.clone(),
            order: order.clone(),
            range: part.range,
            window: window.clone(),
        };
        let mut id = id(relation, generation);
        if !alone {
            id = format!("{id}/{at:04}");
        }
        let rows = Some(part.rows).filter(|rows| told && *rows >= 100);
        let bytes = rows
            .zip(width(table))
            .map(|(rows, width)| rows.saturating_mul(width));
        Ok(Split::new(id, SplitData::encode(&piece)?).estimate(rows, bytes))
    });
    Ok((splits.collect::<Result<_>>()?, named))
}

/// Whether the order is the cursor's, so that what is in a window was counted.
fn is_first(order: &Order, window: &Window) -> bool {
    order.columns.first() == Some(&window.column)
}

/// In which order a table is read, and in which ranges.
async fn parts(
    shared: &Shared,
    relation: &Relation,
    table: &Table,
    key: Order,
    window: Option<&Window>,
) -> Result<(Order, Vec<Part>)> {
    if window.is_none() && is_small(table) {
        return Ok((
            key,
            vec![Part {
                range: Range::default(),
                rows: table.rows.unwrap_or(0),
            }],
        ));
    }
    let mut loan = shared.pool.lend().await?;
    let mut connection = loan.connect(false).await?;
    // What is new is little, mostly: then an index on the cursor finds it at once.
    let index = relation
        .cursor
        .as_ref()
        .and_then(|cursor| cursor.index.as_ref());
    if let (Some(window), Some(index)) = (window, index) {
        let mut columns = vec![window.column.clone()];
        columns.extend(
            key.columns
                .iter()
                .filter(|name| **name != window.column)
                .cloned(),
        );
        let order = Order {
            index: index.clone(),
            columns,
        };
        let condition = Some(window.condition(table));
        let mut probe = Probe::new(connection, table, &order, condition, shared.mapping)?;
        let new = probe.count(&Range::default()).await?;
        if window.from.is_some() && new <= table.rows.unwrap_or(0) / 8 {
            let parts = ranges::cut(&mut probe, aim(table, new, shared.pool.most())).await?;
            if let Some(connection) = probe.into_connection() {
                loan.give_back(connection);
            }
            return Ok((order, parts));
        }
        connection = match probe.into_connection() {
            Some(connection) => connection,
            None => loan.connect(true).await?,
        };
    }
    let mut probe = Probe::new(connection, table, &key, None, shared.mapping)?;
    let rows = table.rows.unwrap_or(LARGE_ROWS);
    let parts = ranges::cut(&mut probe, aim(table, rows, shared.pool.most())).await?;
    if let Some(connection) = probe.into_connection() {
        loan.give_back(connection);
    }
    Ok((key, parts))
}

fn is_small(table: &Table) -> bool {
    table.rows.is_some_and(|rows| rows <= SMALL_ROWS)
        && table.bytes.is_none_or(|bytes| bytes <= SMALL_BYTES)
}

/// The bytes of a row.
fn width(table: &Table) -> Option<u64> {
    Some(table.bytes? / table.rows?.max(1))
}

fn aim(table: &Table, rows: u64, connections: usize) -> Aim {
    let bytes = rows.saturating_mul(width(table).unwrap_or(100));
    let connections = u64::try_from(connections).unwrap_or(1);
    let balanced = (rows / SMALL_ROWS)
        .max(bytes / SMALL_BYTES)
        .min(connections * SHARES);
    let bounded = (rows / LARGE_ROWS).max(bytes / LARGE_BYTES);
    let most = balanced.max(bounded).clamp(1, MOST_SPLITS);
    Aim {
        rows: (rows / most).max(1),
        most: usize::try_from(most).unwrap_or(1),
    }
}

fn id(relation: &Relation, generation: u64) -> String {
    match generation {
        0 => relation.stream.to_string(),
        _ => format!("{}@{generation}", relation.stream),
    }
}

fn whole(relation: &Relation, window: Option<Window>, generation: u64) -> Result<Split> {
    let rows = match &relation.origin {
        Origin::Table(table) if relation.filter.is_none() && window.is_none() => {
            table.rows.filter(|rows| *rows >= 100)
        }
        _ => None,
    };
    let piece = Piece::Whole {
        stream: relation.stream.clone(),
        window,
    };
    let split = Split::new(id(relation, generation), SplitData::encode(&piece)?);
    Ok(split.estimate(rows, None))
}
