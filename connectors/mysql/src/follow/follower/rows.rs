//! Rows that were changed, made ready to be told.

use std::sync::Arc;

use tidegate_core::Result;

use super::Follower;
use crate::follow::bytes::Broken;
use crate::follow::event::{Change, Event, RowsKind};
use crate::follow::image::{Image, NO_TABLE, RowsBody};
use crate::follow::map;
use crate::follow::shape::Shape;
use crate::follow::tracked::{DELETE, INSERT, Said, UPDATE};

/// The most changes that are told at once.
const MOST_ROWS: usize = 64 << 10;

impl Follower {
    pub(super) fn rows(&mut self, kind: RowsKind, event: &Event<'_>) -> Result<()> {
        let broken = |this: &Self| this.broken(Some(event));
        let id = map::id(event.body).map_err(|_| broken(self))?;
        if id == NO_TABLE && !self.ids.contains_key(&id) {
            return Ok(());
        }
        let Some(at) = *self.ids.get(&id).ok_or_else(|| broken(self))? else {
            return Ok(());
        };
        let shape = self.tables[at].known.as_ref();
        let Some(shape) = shape.map(|(_, shape)| Arc::clone(shape)) else {
            // Held: nobody takes these.
            return Ok(());
        };
        if self
            .transactions
            .current
            .as_ref()
            .is_some_and(|one| one.distributed)
        {
            return Err(self.unsupported(
                at,
                "a followed table was written in a distributed (XA) transaction",
                "whether it is committed is known only later, which can't be followed; leave the \
                 table out by `tables`, and start over with --restart",
            ));
        }
        let body = RowsBody::parse(kind, event.body, self.most());
        let body = body.map_err(|unfit| self.unfit(unfit, event))?;
        if !body.whole {
            return Err(self.unsupported(
                at,
                "an image of a row lacks columns",
                "a session used another binlog_row_image than FULL; forbid it, and start over \
                 with --restart",
            ));
        }
        let time = self
            .transactions
            .current
            .as_ref()
            .and_then(|one| one.committed);
        let time = time.unwrap_or_else(|| i64::from(event.time) * 1_000_000);
        let mut images = body.images(&shape.layout).map_err(|_| broken(self))?;
        while let Some(image) = images.next() {
            let image = image.map_err(|_| broken(self))?;
            let pushed = match kind.change {
                Change::Insert => self.push(at, &shape, image, INSERT, time),
                Change::Delete => self.push(at, &shape, image, DELETE, time),
                Change::Update => {
                    let after = images.next().ok_or_else(|| broken(self))?;
                    let after = after.map_err(|_| broken(self))?;
                    let same = shape.layout.same_key(image, after);
                    match same.map_err(|_| broken(self))? {
                        true => self.push(at, &shape, after, UPDATE, time),
                        // A row under another key is another row.
                        false => self
                            .push(at, &shape, image, DELETE, time)
                            .and_then(|()| self.push(at, &shape, after, INSERT, time)),
                    }
                }
            };
            pushed.map_err(|_| broken(self))?;
            if self.waiting_bytes >= self.around.batch || self.waiting_rows >= MOST_ROWS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        at: usize,
        shape: &Arc<Shape>,
        image: Image<'_>,
        op: &'static str,
        time: i64,
    ) -> Result<(), Broken> {
        let Some(position) = self.transactions.change()? else {
            return Ok(());
        };
        let tracked = &mut self.tables[at];
        let before = tracked.waiting();
        let said = Said {
            op,
            time,
            position: &position,
        };
        self.waiting_bytes += tracked.push(shape, image, said)?;
        if tracked.waiting() > before {
            self.waiting_rows += 1;
            if before == 0 {
                self.waiting.push(at);
            }
        }
        Ok(())
    }
}
