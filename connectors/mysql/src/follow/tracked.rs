//! A table that is followed: its definition as of now, and the changes that were read of it.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use tidegate_core::{Result, Rows, Scan, StreamName};

use super::bytes::{Broken, put_counted};
use super::columns::{self, changes};
use super::image::Image;
use super::shape::Shape;
use crate::discover::Table;
use crate::types::{Column, Mapping};
use crate::wire::Chunk;

/// What `_op` says.
pub(super) const INSERT: &str = "insert";
pub(super) const UPDATE: &str = "update";
pub(super) const DELETE: &str = "delete";

/// See the module.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) stream: StreamName,
    /// The columns that the user chose; none for all.
    pub(super) columns: Option<Vec<String>>,
    pub(super) table: Table,
    /// Its schema was announced since the beginning, so the place holds it.
    pub(super) changed: bool,
    /// A statement may have altered it, and no map came since.
    pub(super) stale: bool,
    /// None if nobody asks for the stream.
    pub(super) scan: Option<Scan>,
    /// The last map, without its number, and what came of it.
    pub(super) known: Option<(Vec<u8>, Arc<Shape>)>,
    bytes: Vec<u8>,
    rows: Vec<(u32, u32)>,
    /// How the rows are read that wait.
    shape: Option<Arc<Shape>>,
}

/// What is said of a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) op: &'static str,
    /// Microseconds since 1970.
    pub(super) time: i64,
    pub(super) position: &'a str,
}

impl Tracked {
    pub(super) fn new(
        stream: StreamName,
        columns: Option<Vec<String>>,
        table: Table,
        scan: Option<Scan>,
    ) -> Self {
        Self {
            stream,
            columns,
            table,
            changed: false,
            stale: false,
            scan,
            known: None,
            bytes: Vec::new(),
            rows: Vec::new(),
            shape: None,
        }
    }

    /// The columns of the stream, if this is the table's definition.
    pub(super) fn shown(&self, table: &Table) -> Vec<Column> {
        let chosen = |column: &&Column| match &self.columns {
            None => true,
            Some(names) => names.contains(&column.name),
        };
        table.columns.iter().filter(chosen).cloned().collect()
    }

    /// The schema of the stream, if this is the table's definition.
    pub(super) fn schema(&self, table: &Table, mapping: Mapping) -> Result<SchemaRef> {
        columns::schema(&self.shown(table), mapping)
    }

    /// How many rows wait.
    pub(super) fn waiting(&self) -> usize {
        self.rows.len()
    }

    /// Takes a change in. Gives the bytes that it takes.
    pub(super) fn push(
        &mut self,
        shape: &Arc<Shape>,
        image: Image<'_>,
        said: Said<'_>,
    ) -> Result<usize, Broken> {
        let Some(out) = &shape.out else { return Ok(0) };
        let start = self.bytes.len();
        shape.layout.write(image, out.ours(), &mut self.bytes)?;
        if out.op {
            put_counted(&mut self.bytes, said.op.as_bytes());
        }
        if out.ts {
            self.bytes.extend_from_slice(&said.time.to_le_bytes());
        }
        if out.pos {
            put_counted(&mut self.bytes, said.position.as_bytes());
        }
        let narrow = |at: usize| u32::try_from(at).map_err(|_| Broken);
        self.rows.push((narrow(start)?, narrow(self.bytes.len())?));
        if self.shape.is_none() {
            self.shape = Some(Arc::clone(shape));
        }
        Ok(self.bytes.len() - start)
    }

    /// The changes that wait, as work for a worker.
    pub(super) fn take(&mut self) -> Option<Rows> {
        let shape = self.shape.take()?;
        let out = shape.out.as_ref()?;
        let rows = std::mem::take(&mut self.rows);
        let bytes = std::mem::take(&mut self.bytes);
        let work = out.decoder.work(Chunk::of(bytes, rows));
        Some(Rows::Encoded(changes(work, Arc::clone(&out.schema))))
    }
}
