//! A pipeline's state as rows: the same edits, written and read.

use rusqlite::{OptionalExtension, ToSql, Transaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_core::{ComponentId, Epoch, Error, Result};

use super::failed;
use crate::state::edits::Edit;
use crate::state::{Begun, PipelineState, SplitState, StoredEpoch};

pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS pipeline (
    name TEXT PRIMARY KEY, lineage TEXT NOT NULL, epoch INTEGER NOT NULL,
    fence INTEGER NOT NULL, holder TEXT, run TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS source (
    pipeline TEXT NOT NULL, id TEXT NOT NULL, plan TEXT, plan_before TEXT, next TEXT,
    PRIMARY KEY (pipeline, id)
) STRICT;
CREATE TABLE IF NOT EXISTS split (
    ord INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, source TEXT NOT NULL, id TEXT NOT NULL,
    split TEXT NOT NULL, position TEXT, finished INTEGER NOT NULL DEFAULT 0,
    UNIQUE (pipeline, source, id)
) STRICT;
CREATE TABLE IF NOT EXISTS stream_schema (
    pipeline TEXT NOT NULL, source TEXT NOT NULL, stream TEXT NOT NULL, schema TEXT NOT NULL,
    PRIMARY KEY (pipeline, source, stream)
) STRICT;
CREATE TABLE IF NOT EXISTS epoch (
    pipeline TEXT NOT NULL, epoch INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (pipeline, epoch)
) STRICT;
CREATE TABLE IF NOT EXISTS prepared (
    ord INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, sink TEXT NOT NULL,
    epoch INTEGER, value TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS journal (
    ord INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, sink TEXT NOT NULL,
    epoch INTEGER NOT NULL, token TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS value (
    pipeline TEXT NOT NULL, component TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (pipeline, component, key)
) STRICT;
";

/// How many changes each pipeline has had, and when the last one was, in milliseconds since 1970.
pub(super) const CHANGES: &str = "
CREATE TABLE IF NOT EXISTS changes (
    pipeline TEXT PRIMARY KEY, count INTEGER NOT NULL, at INTEGER NOT NULL
) STRICT;
";

/// A table, as copies of it are read and written.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The column that says whose row it is.
    pub(super) pipeline: &'static str,
    /// All others, but for one that only gives an order.
    pub(super) columns: &'static str,
}

const fn table(name: &'static str, pipeline: &'static str, columns: &'static str) -> Table {
    Table {
        name,
        pipeline,
        columns,
    }
}

/// The tables above.
pub(super) const TABLES: [Table; 9] = [
    table("pipeline", "name", "lineage, epoch, fence, holder, run"),
    table("source", "pipeline", "id, plan, plan_before, next"),
    table("split", "pipeline", "source, id, split, position, finished"),
    table("stream_schema", "pipeline", "source, stream, schema"),
    table("epoch", "pipeline", "epoch, last"),
    table("prepared", "pipeline", "sink, epoch, value"),
    table("journal", "pipeline", "sink, epoch, token"),
    table("value", "pipeline", "component, key, value"),
    table("changes", "pipeline", "count, at"),
];

/// What is stored of the pipeline.
pub(super) fn load(db: &Transaction<'_>, pipeline: &str) -> Result<Option<PipelineState>> {
    let head: Option<(String, u64, Option<String>)> = db
        .query_row(
            "SELECT lineage, epoch, run FROM pipeline WHERE name = ?",
            [pipeline],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()
        .map_err(failed)?;
    let Some((lineage, epoch, run)) = head else {
        return Ok(None);
    };
    let mut state = PipelineState::new(parse(&lineage)?);
    state.edit(Edit::Epoch(Epoch(epoch)));
    if let Some(run) = run {
        state.edit(Edit::Run(parse(&run)?));
    }

    let mut each = |sql: &str, edits: &dyn Fn(Row<'_>) -> Result<Vec<Edit>>| -> Result<()> {
        let mut statement = db.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query([pipeline]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            for edit in edits(Row(row))? {
                state.edit(edit);
            }
        }
        Ok(())
    };
    each(
        "SELECT id, plan, plan_before, next FROM source WHERE pipeline = ?",
        &|row| {
            let source = row.id(0)?;
            let of = || source.clone();
            Ok(vec![
                Edit::Plan {
                    source: of(),
                    plan: row.json_opt(1)?,
                },
                Edit::PlanBefore {
                    source: of(),
                    plan: row.json_opt(2)?,
                },
                Edit::Next {
                    source: of(),
                    next: row.json_opt(3)?,
                },
            ])
        },
    )?;
    each(
        "SELECT source, split, position, finished FROM split WHERE pipeline = ? ORDER BY ord",
        &|row| {
            Ok(vec![Edit::Split {
                source: row.id(0)?,
                state: SplitState {
                    split: row.json(1)?,
                    offset: row.json_opt(2)?,
                    finished: row.get(3)?,
                },
            }])
        },
    )?;
    each(
        "SELECT source, stream, schema FROM stream_schema WHERE pipeline = ?",
        &|row| {
            Ok(vec![Edit::Schema {
                source: row.id(0)?,
                stream: row.get::<String>(1)?.into(),
                schema: row.json(2)?,
            }])
        },
    )?;
    each("SELECT epoch, last FROM epoch WHERE pipeline = ?", &|row| {
        Ok(vec![Edit::Stored(StoredEpoch {
            epoch: Epoch(row.get(0)?),
            last: row.get(1)?,
            prepared: Vec::new(),
        })])
    })?;
    each(
        "SELECT sink, value FROM prepared WHERE pipeline = ? AND epoch IS NULL ORDER BY ord",
        &|row| {
            Ok(vec![Edit::Kept {
                sink: row.id(0)?,
                value: row.json(1)?,
            }])
        },
    )?;
    each(
        "SELECT sink, epoch, token FROM journal WHERE pipeline = ? ORDER BY ord",
        &|row| {
            Ok(vec![Edit::Begun(Begun {
                sink: row.id(0)?,
                epoch: Epoch(row.get(1)?),
                token: row.json(2)?,
            })])
        },
    )?;
    for stored in &mut state.epochs {
        let sql = "SELECT sink, value FROM prepared WHERE (pipeline, epoch) = (?, ?) ORDER BY ord";
        let mut statement = db.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement
            .query((pipeline, stored.epoch.0))
            .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let row = Row(row);
            stored.prepared.push((row.id(0)?, row.json(1)?));
        }
    }
    Ok(Some(state))
}

/// Makes one step of a change in the rows.
pub(super) fn keep(db: &Transaction<'_>, pipeline: &str, edit: &Edit) -> Result<()> {
    let run = |sql: &str, params: &[&dyn ToSql]| -> Result<()> {
        db.prepare_cached(sql)
            .and_then(|mut sql| sql.execute(params))
            .map_err(failed)?;
        Ok(())
    };
    let p: &dyn ToSql = &pipeline;
    match edit {
        Edit::Epoch(epoch) => run(
            "UPDATE pipeline SET epoch = ? WHERE name = ?",
            &[&epoch.0, p],
        ),
        Edit::Run(state) => run(
            "UPDATE pipeline SET run = ? WHERE name = ?",
            &[&json(state)?, p],
        ),
        Edit::Plan { source, plan } => run(
            "INSERT INTO source (pipeline, id, plan) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET plan = excluded.plan",
            &[p, &source.as_str(), &json_opt(plan.as_ref())?],
        ),
        Edit::PlanBefore { source, plan } => run(
            "INSERT INTO source (pipeline, id, plan_before) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET plan_before = excluded.plan_before",
            &[p, &source.as_str(), &json_opt(plan.as_ref())?],
        ),
        Edit::Next { source, next } => run(
            "INSERT INTO source (pipeline, id, next) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET next = excluded.next",
            &[p, &source.as_str(), &json_opt(next.as_ref())?],
        ),
        Edit::Split { source, state } => {
            let SplitState {
                split,
                offset,
                finished,
            } = state;
            run(
                "INSERT INTO split (pipeline, source, id, split, position, finished)
                 VALUES (?, ?, ?, ?, ?, ?)",
                &[
                    p,
                    &source.as_str(),
                    &split.id.as_str(),
                    &json(split)?,
                    &json_opt(offset.as_ref())?,
                    finished,
                ],
            )
        }
        Edit::Position {
            source,
            split,
            offset,
            finished,
        } => run(
            "UPDATE split SET position = ?, finished = ? WHERE (pipeline, source, id) = (?, ?, ?)",
            &[
                &json_opt(offset.as_ref())?,
                finished,
                p,
                &source.as_str(),
                &split.as_str(),
            ],
        ),
        Edit::DropSplit { source, split } => run(
            "DELETE FROM split WHERE (pipeline, source, id) = (?, ?, ?)",
            &[p, &source.as_str(), &split.as_str()],
        ),
        Edit::DropSplits { source } => run(
            "DELETE FROM split WHERE (pipeline, source) = (?, ?)",
            &[p, &source.as_str()],
        ),
        Edit::Schema {
            source,
            stream,
            schema,
        } => run(
            "INSERT OR REPLACE INTO stream_schema (pipeline, source, stream, schema)
             VALUES (?, ?, ?, ?)",
            &[p, &source.as_str(), &stream.as_str(), &json(schema)?],
        ),
        Edit::DropSchemas { source } => run(
            "DELETE FROM stream_schema WHERE (pipeline, source) = (?, ?)",
            &[p, &source.as_str()],
        ),
        Edit::Stored(stored) => {
            let epoch = stored.epoch.0;
            run(
                "INSERT INTO epoch (pipeline, epoch, last) VALUES (?, ?, ?)",
                &[p, &epoch, &stored.last],
            )?;
            stored.prepared.iter().try_for_each(|(sink, value)| {
                run(
                    "INSERT INTO prepared (pipeline, sink, epoch, value) VALUES (?, ?, ?, ?)",
                    &[p, &sink.as_str(), &epoch, &json(value)?],
                )
            })
        }
        Edit::DropStored(epoch) => {
            run(
                "DELETE FROM epoch WHERE (pipeline, epoch) = (?, ?)",
                &[p, &epoch.0],
            )?;
            run(
                "DELETE FROM prepared WHERE (pipeline, epoch) = (?, ?)",
                &[p, &epoch.0],
            )
        }
        Edit::Kept { sink, value } => run(
            "INSERT INTO prepared (pipeline, sink, epoch, value) VALUES (?, ?, NULL, ?)",
            &[p, &sink.as_str(), &json(value)?],
        ),
        Edit::DropKept { sink } => run(
            "DELETE FROM prepared WHERE pipeline = ? AND epoch IS NULL AND sink = coalesce(?, sink)",
            &[p, &sink.as_ref().map(ComponentId::as_str)],
        ),
        Edit::Begun(Begun { sink, epoch, token }) => run(
            "INSERT INTO journal (pipeline, sink, epoch, token) VALUES (?, ?, ?, ?)",
            &[p, &sink.as_str(), &epoch.0, &json(token)?],
        ),
        Edit::DropBegun { sink, upto } => run(
            "DELETE FROM journal
             WHERE pipeline = ? AND sink = coalesce(?, sink) AND epoch <= coalesce(?, epoch)",
            &[
                p,
                &sink.as_ref().map(ComponentId::as_str),
                &upto.map(|epoch| epoch.0),
            ],
        ),
    }
}

/// A row whose text columns are ids and JSON.
struct Row<'a>(&'a rusqlite::Row<'a>);

impl Row<'_> {
    fn get<T: rusqlite::types::FromSql>(&self, column: usize) -> Result<T> {
        self.0.get(column).map_err(failed)
    }

    fn id(&self, column: usize) -> Result<ComponentId> {
        ComponentId::new(&self.get::<String>(column)?)
    }

    fn json<T: DeserializeOwned>(&self, column: usize) -> Result<T> {
        parse(&self.get::<String>(column)?)
    }

    fn json_opt<T: DeserializeOwned>(&self, column: usize) -> Result<Option<T>> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| parse(&text)).transpose()
    }
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal("a value of the state can't be written").because(error))
}

fn json_opt<T: Serialize>(value: Option<&T>) -> Result<Option<String>> {
    value.map(json).transpose()
}

pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::conflict("a value of the state can't be read")
            .hint("the state may have been written by another version of Tidegate")
            .because(error)
    })
}
