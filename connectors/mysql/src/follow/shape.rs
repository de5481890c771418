//! What a table's definition and the map in the binlog say together: how rows are read.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use tidegate_core::{Error, Result, Scan};

use super::columns::{self, OP, POS, TS};
use super::conversion::{self, Conversion};
use super::image::{LaidOut, Layout};
use super::map::{MapColumn, TableMap};
use super::stored::Stored;
use crate::decode::Decoder;
use crate::discover::{Key, Table};
use crate::types::{Column, Mapping, Type, of_members};

/// How rows of a table are read, as long as its map stays the same.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) layout: Layout,
    /// Of the columns that are asked for; none if nobody asks for the stream.
    pub(super) out: Option<Out>,
}

/// What becomes of the rows.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) decoder: Arc<Decoder>,
    /// The columns that are asked for.
    pub(super) schema: SchemaRef,
    pub(super) op: bool,
    pub(super) ts: bool,
    pub(super) pos: bool,
}

impl Out {
    /// How many of our columns are asked for.
    pub(super) fn ours(&self) -> usize {
        usize::from(self.op) + usize::from(self.ts) + usize::from(self.pos)
    }
}

/// How a map's columns and a definition's belong together: for each column of the map how it is
/// read, and which one of the table's it is; none if it is hidden from us.
#[derive(Debug)]
pub(super) struct Fit(Vec<(Stored, Conversion, Option<usize>)>);

/// Whether it is a column of MariaDB's system versioning, which the server lists nowhere unless the
/// user declared it.
fn is_hidden(stored: &MapColumn) -> bool {
    let name = stored.name.as_deref().unwrap_or_default();
    ["row_start", "row_end"]
        .iter()
        .any(|hidden| name.eq_ignore_ascii_case(hidden))
}

/// Sees whether a definition is that of a map.
///
/// Errors: `Unsupported` for what can't be read from the binlog at all.
pub(super) fn fit(table: &Table, map: &TableMap) -> Result<Option<Fit>> {
    let full = map.is_full();
    if !full && table.columns.len() != map.columns.len() {
        return Ok(None);
    }
    let mut fits = Vec::with_capacity(map.columns.len());
    let mut found = 0;
    for (at, stored) in map.columns.iter().enumerate() {
        let column = match &stored.name {
            Some(name) if full => table.columns.iter().position(|c| c.name == *name),
            _ => Some(at),
        };
        let Some(column) = column else {
            if !is_hidden(stored) {
                return Ok(None);
            }
            fits.push((stored.stored, Conversion::Plain, None));
            continue;
        };
        // In another order they are another schema.
        if column != found {
            return Ok(None);
        }
        found += 1;
        let Some(conversion) = Conversion::of(&table.columns[column], stored)? else {
            return Ok(None);
        };
        fits.push((stored.stored, conversion, Some(column)));
    }
    Ok((found == table.columns.len()).then_some(Fit(fits)))
}

/// A definition made of what a map says, which must be full; what the map doesn't say (whether a
/// TINYINT is a boolean, a LONGTEXT a JSON) is taken from other definitions of the table.
pub(super) fn compose(map: &TableMap, others: &[&Table]) -> Result<Table> {
    let Some(last) = others.first() else {
        return Err(Error::internal("a table without any definition"));
    };
    let mut columns = Vec::with_capacity(map.columns.len());
    for stored in &map.columns {
        let name = stored.name.as_deref().unwrap_or_default();
        let mut known = others
            .iter()
            .filter_map(|table| table.columns.iter().find(|c| c.name == name));
        let fitting = known.find_map(|column| match Conversion::of(column, stored) {
            Ok(Some(_)) => Some(column.clone()),
            _ => None,
        });
        match fitting {
            Some(column) => columns.push(column),
            None if is_hidden(stored) => {}
            None => columns.push(column(name, stored)?),
        }
    }
    let key = last.key.as_ref().map(|key| {
        let at = |column: &usize| {
            let name = &last.columns.get(*column)?.name;
            columns.iter().position(|column| column.name == *name)
        };
        let positions: Option<Vec<usize>> = key.columns.iter().map(at).collect();
        let changed = || {
            Error::unsupported("the key of a followed table was changed")
                .with("table", &last.name)
                .hint("start over with --restart")
        };
        Ok::<_, Error>(Key {
            index: key.index.clone(),
            columns: positions.ok_or_else(changed)?,
        })
    });
    let key = key.transpose()?;
    Ok(Table {
        columns,
        key,
        ..(*last).clone()
    })
}

impl Shape {
    /// How rows of `table` are read, and what is asked of them. `shown`: the columns of the stream.
    pub(super) fn new(
        table: &Table,
        fit: Fit,
        shown: &[Column],
        scan: Option<&Scan>,
        mapping: Mapping,
    ) -> Result<Self> {
        let key = table.key.iter().flat_map(|key| &key.columns);
        let key: Vec<usize> = key.copied().collect();
        let mut slots = vec![None; table.columns.len()];
        let mut out = None;
        if let Some(scan) = scan {
            let all = columns::schema(shown, mapping)?;
            let schema = scan.schema(&all)?;
            let has = |name: &str| schema.index_of(name).is_ok();
            let mut asked = Vec::new();
            for column in shown.iter().filter(|column| has(&column.name)) {
                let at = table.columns.iter().position(|c| c.name == column.name);
                if let Some(slot) = at.and_then(|at| slots.get_mut(at)) {
                    *slot = Some(asked.len());
                    asked.push(column.clone());
                }
            }
            let ours = [OP, TS, POS].into_iter().filter(|name| has(name));
            asked.extend(ours.map(columns::carried));
            let count = asked.len();
            out = Some(Out {
                decoder: Decoder::new(&table.name, asked, count, mapping)?,
                op: has(OP),
                ts: has(TS),
                pos: has(POS),
                schema,
            });
        }
        let columns = fit
            .0
            .into_iter()
            .map(|(stored, conversion, column)| LaidOut {
                stored,
                conversion,
                slot: column.and_then(|column| slots.get(column).copied().flatten()),
                key: column.is_some_and(|column| key.contains(&column)),
            });
        Ok(Self {
            layout: Layout {
                shown: slots.iter().flatten().count(),
                columns: columns.collect(),
            },
            out,
        })
    }
}

/// A column as nothing but the map tells it.
fn column(name: &str, stored: &MapColumn) -> Result<Column> {
    let unsigned = stored.unsigned.unwrap_or(false);
    let declared = stored
        .stored
        .declaration(unsigned, conversion::is_text(stored));
    let kind = Type::of_column(&declared, true, Mapping::default());
    let mut column = Column {
        nullable: stored.nullable,
        ..Column::new(name, kind, declared)
    };
    if let Some(members) = conversion::told_members(&column, stored)? {
        column.declared = of_members(&column.declared, &members);
    }
    Ok(column)
}
