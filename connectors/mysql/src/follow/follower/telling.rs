//! What is told: changes, schemas, and how far we are.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;
use tidegate_core::{Event as Told, Offset, Result, StreamName};

use super::Follower;
use crate::follow::position::BinlogOffset;
use crate::follow::tracked::Tracked;

/// How often it is told that we have moved, when nothing concerns us.
const PROGRESS: Duration = Duration::from_secs(1);

impl Follower {
    /// The tables may have been altered since they were last told of: then the streams are open with
    /// schemas that hold only further on, and what comes first has the one of before.
    pub(super) fn announce_differences(
        &mut self,
        shown: &HashMap<StreamName, SchemaRef>,
    ) -> Result<()> {
        for at in 0..self.tables.len() {
            let tracked = &self.tables[at];
            if tracked.changed || tracked.scan.is_none() {
                continue;
            }
            let schema = tracked.schema(&tracked.table, self.around.mapping)?;
            if shown.get(&tracked.stream).is_some_and(|now| *now != schema) {
                self.announce(at, schema)?;
            }
        }
        Ok(())
    }

    /// From here on, the stream has this schema.
    pub(super) fn announce(&mut self, at: usize, schema: SchemaRef) -> Result<()> {
        self.tables[at].changed = true;
        let resume = self.offset()?;
        let tracked = &self.tables[at];
        let Some(scan) = &tracked.scan else {
            return Ok(());
        };
        self.held |= scan.indices(&schema).is_err();
        self.out.push_back(Told::Schema {
            stream: tracked.stream.clone(),
            schema,
            resume,
        });
        Ok(())
    }

    /// Where we are, for a resume right after what was told so far.
    fn offset(&self) -> Result<Offset> {
        let of = |keep: fn(&Tracked) -> bool| self.tables.iter().filter(move |one| keep(one));
        Offset::encode(&BinlogOffset {
            changed: of(|one| one.changed).map(|one| one.table.clone()).collect(),
            stale: of(|one| one.stale)
                .map(|one| one.table.name.clone())
                .collect(),
            ..self.transactions.here()
        })
    }

    /// Tells the changes that wait. Only behind the last of the tables there is a place to go on
    /// from.
    pub(super) fn flush(&mut self) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting).into_iter().peekable();
        (self.waiting_bytes, self.waiting_rows) = (0, 0);
        while let Some(at) = waiting.next() {
            let resume = match waiting.peek() {
                None => Some(self.offset()?),
                Some(_) => None,
            };
            let tracked = &mut self.tables[at];
            if let Some(rows) = tracked.take() {
                self.out.push_back(Told::Rows {
                    stream: tracked.stream.clone(),
                    rows,
                    rejected: None,
                    resume,
                });
                self.transactions.moved = false;
                self.last_told = Instant::now();
            }
        }
        Ok(())
    }

    pub(super) fn tell_progress(&mut self) -> Result<()> {
        if self.transactions.moved
            && self.waiting.is_empty()
            && self.out.is_empty()
            && self.transactions.current.is_none()
            && self.last_told.elapsed() >= PROGRESS
        {
            self.out.push_back(Told::Progress(self.offset()?));
            self.transactions.moved = false;
            self.last_told = Instant::now();
        }
        Ok(())
    }
}
