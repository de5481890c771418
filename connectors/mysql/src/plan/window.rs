//! What is new since the run before.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};

use crate::config::Lag;
use crate::discover::Table;
use crate::relation::{Cursor, Relation};
use crate::select::Window;
use crate::source::Shared;
use crate::sql;
use crate::types::Type;
use crate::wire::Connection;

/// What is remembered between runs: of each stream with a cursor, where the last run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    bookmarks: BTreeMap<String, Bookmark>,
}

/// Where a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bookmark {
    column: String,
    /// Where the next run begins, as a literal; none while there was nothing to read.
    to: String,
    /// Counts the runs, from 1.
    pub(super) run: u64,
}

impl Memory {
    /// The field that has an entry for each stream.
    pub(super) const STREAMS: &str = "bookmarks";

    pub(super) fn extend(&mut self, bookmark: Option<(String, Bookmark)>) {
        self.bookmarks.extend(bookmark);
    }
}

/// How long after its time a row may be committed, unless told otherwise.
const LAG: Duration = Duration::from_secs(30);

/// The rows that this run reads, and the bookmark for the next one; none if there are none.
///
/// Errors: `Data` if the cursor is NULL somewhere; `Conflict` if it is another than before.
pub(super) async fn find(
    shared: &Shared,
    relation: &Relation,
    table: &Table,
    cursor: &Cursor,
    memory: &Memory,
) -> Result<Option<(Window, Bookmark)>> {
    let at = |error: Error| {
        error
            .with("table", &table.name)
            .with("cursor", &cursor.column.name)
    };
    let before = memory.bookmarks.get(relation.stream.as_str());
    if let Some(before) = before.filter(|before| before.column != cursor.column.name) {
        return Err(at(Error::conflict(
            "the run before was read by another cursor",
        )
        .with("cursor before", &before.column)
        .hint(
            "put it back, or let the source read everything again: --full-refresh SOURCE",
        )));
    }
    let mut loan = shared.pool.lend().await?;
    let mut connection = loan.connect(false).await?;
    if cursor.column.nullable {
        refuse_nulls(&mut connection, relation, table, cursor)
            .await
            .map_err(at)?;
    }
    let from = before.map(|before| before.to.clone());
    let (to, closed) = match cursor.column.kind {
        Type::Timestamp { .. } | Type::DateTime { .. } | Type::Date => {
            (Some(now(&mut connection, cursor).await.map_err(at)?), false)
        }
        _ => (
            greatest(&mut connection, table, cursor).await.map_err(at)?,
            true,
        ),
    };
    loan.give_back(connection);
    let Some(to) = to else {
        return Ok(None);
    };
    // The clock was set back, rows were deleted, or `lag` is longer than before.
    let to = match (&from, closed) {
        (Some(from), true) if integer(&to)? < integer(from)? => from.clone(),
        // Both are written alike, so they follow one another as texts do.
        (Some(from), false) if to < *from => from.clone(),
        _ => to,
    };
    if from.as_ref() == Some(&to) {
        return Ok(None);
    }
    let bookmark = Bookmark {
        column: cursor.column.name.clone(),
        to: to.clone(),
        run: before.map_or(0, |before| before.run) + 1,
    };
    let window = Window {
        column: cursor.column.name.clone(),
        from,
        to,
        closed,
    };
    Ok(Some((window, bookmark)))
}

/// Rows that a cursor can't place would be missed forever.
async fn refuse_nulls(
    connection: &mut Connection,
    relation: &Relation,
    table: &Table,
    cursor: &Cursor,
) -> Result<()> {
    let column = sql::column(table, &cursor.column.name);
    let mut asked = format!("SELECT 1 FROM {} WHERE {column} IS NULL", sql::table(table));
    if let Some(filter) = &relation.filter {
        asked.push_str(" AND ");
        asked.push_str(&sql::group(filter));
    }
    let asked = format!("{asked} LIMIT 1");
    match connection.query("look for NULLs", &asked).await?.is_empty() {
        true => Ok(()),
        false => Err(
            Error::data("the cursor of some rows is NULL, and so they can't be placed").hint(
                format!(
                    "leave them out by `where = \"{} IS NOT NULL\"`, or take another cursor",
                    cursor.column.name
                ),
            ),
        ),
    }
}

/// The time before which no more rows are written, in the units of the column.
///
/// A DATETIME or a DATE is written in UTC or in the server's zone: whichever is behind. Where clocks
/// go back within a day, an hour of it comes twice, and what is written in the second one must still
/// be in front of us: so the zone is taken as it will be then.
async fn now(connection: &mut Connection, cursor: &Cursor) -> Result<String> {
    let lag = match cursor.lag {
        Some(Lag::Time(lag)) => lag.0,
        _ => LAG,
    };
    let now = match cursor.column.kind {
        Type::Timestamp { .. } => "UTC_TIMESTAMP(6)".to_owned(),
        _ => {
            let zoned = |ahead: &str| {
                format!(
                    "COALESCE(CONVERT_TZ(UTC_TIMESTAMP(6) + INTERVAL {ahead}, '+00:00', \
                     @@global.time_zone) - INTERVAL {ahead}, UTC_TIMESTAMP(6))"
                )
            };
            format!(
                "LEAST(UTC_TIMESTAMP(6), {}, {})",
                zoned("0 DAY"),
                zoned("1 DAY")
            )
        }
    };
    let (format, digits) = match cursor.column.kind {
        Type::Date => ("%Y-%m-%d", 0),
        Type::Timestamp { fraction } | Type::DateTime { fraction } => {
            ("%Y-%m-%d %H:%i:%s.%f", usize::from(fraction))
        }
        _ => return Err(Error::internal("a cursor is no time")),
    };
    let asked = format!(
        "SELECT DATE_FORMAT({now} - INTERVAL {} MICROSECOND, '{format}')",
        lag.as_micros()
    );
    let text = connection.value("ask for the time", &asked).await?;
    let mut text = text.ok_or_else(|| {
        Error::config("`lag` reaches back further than the server's calendar")
            .hint("a lag is seconds or minutes")
    })?;
    // Cut off, not rounded: what is cut off is the unit that isn't over yet.
    if let Some(point) = text.find('.') {
        text.truncate(if digits == 0 {
            point
        } else {
            point + 1 + digits
        });
    }
    Ok(format!("'{text}'"))
}

/// The greatest value less the lag; none if there are no rows.
async fn greatest(
    connection: &mut Connection,
    table: &Table,
    cursor: &Cursor,
) -> Result<Option<String>> {
    let lag = match cursor.lag {
        Some(Lag::Values(values)) => values,
        _ => 0,
    };
    let column = sql::column(table, &cursor.column.name);
    let asked = format!("SELECT MAX({column}) FROM {}", sql::table(table));
    let text = connection.value("ask for the greatest value", &asked);
    let Some(text) = text.await? else {
        return Ok(None);
    };
    Ok(Some((integer(&text)? - i128::from(lag)).to_string()))
}

fn integer(text: &str) -> Result<i128> {
    text.parse()
        .map_err(|_| Error::internal("a cursor's value is no integer").with("value", text))
}

#[cfg(test)]
mod tests {
    use tidegate_core::PlanState;

    use super::*;

    #[test]
    fn each_stream_can_be_looked_at_and_forgotten_alone() {
        let bookmark = |run| Bookmark {
            column: "id".to_owned(),
            to: "7".to_owned(),
            run,
        };
        let mut memory = Memory::default();
        memory.extend(Some(("orders".to_owned(), bookmark(1))));
        memory.extend(Some(("items".to_owned(), bookmark(2))));
        let state = PlanState::encode(&memory).unwrap();
        let names: Vec<_> = state
            .entries(Memory::STREAMS)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["items", "orders"]);
        let without = state.without(Memory::STREAMS, "items").unwrap();
        memory.bookmarks.remove("items");
        assert_eq!(without.decode::<Memory>().unwrap(), memory);
        assert_eq!(without.without(Memory::STREAMS, "items"), None);
    }
}
