//! Reading a split: page by page, each fetched once, whatever streams come of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{self, StreamExt, TryStreamExt};
use tidegate_api::{page_events, raw};
use tidegate_core::{Error, ErrorKind, Event, EventStream, Offset, Result, Rows, Scan, StreamName};

use crate::budget::{About, requests_for};
use crate::client::{Client, Page, Turn};
use crate::decode::RowDecoder;
use crate::streams::{Kind, SortBy};
use crate::walk::{PageAsk, Walk};

/// What comes of a page for one of its consumers.
#[derive(Debug)]
pub(crate) enum Lane {
    /// The rows that are new.
    Typed(StreamName, Arc<RowDecoder>),
    /// The page as it came.
    Raw(Scan),
}

/// A page that was fetched when the run was planned.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) ask: PageAsk,
    pub(crate) page: Page,
}

/// Reads a split.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) client: Arc<Client>,
    pub(crate) kind: Kind,
    pub(crate) by: SortBy,
    pub(crate) walk: Walk,
    /// The second, by the API's clock, from which on an answer has all that lies in the window.
    pub(crate) settled: Option<i64>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) kept: Option<Kept>,
    /// Held until the events of the last page are taken.
    pub(crate) turn: Option<Turn>,
    /// Whether how much there is to read has still to be told.
    pub(crate) tell: Option<u32>,
}

impl Reader {
    pub(crate) fn events(self) -> EventStream {
        stream::try_unfold(self, async |mut reader| {
            let events = reader.step().await?;
            Ok::<_, Error>(events.map(|events| (stream::iter(events).map(Ok), reader)))
        })
        .try_flatten()
        .boxed()
    }

    /// The events of the next page; `None` at the end.
    async fn step(&mut self) -> Result<Option<Vec<Event>>> {
        self.turn = None;
        let Some(ask) = self.walk.next() else {
            return Ok(None);
        };
        self.turn = Some(self.client.turn().await);
        let (ask, page) = match self.kept.take() {
            Some(Kept { ask, page }) => (ask, page),
            None => match self.fetch(&ask).await {
                Ok(page) => (ask, page),
                Err(error) => {
                    self.turn = None;
                    if error.kind() == ErrorKind::Exhausted {
                        self.client.others().await;
                    }
                    return Err(error);
                }
            },
        };
        let new = self.walk.take(&ask, page.as_answer()).map_err(|error| {
            error
                .with("stream", self.kind)
                .with("url", page.answer.shown_url())
        })?;
        let end = Offset::encode(self.walk.position())?;
        let rows = match ask.count {
            // Its row comes with its page.
            true => Vec::new(),
            false => self.rows(&page, &new)?,
        };
        Ok(Some(page_events(rows, end)))
    }

    async fn fetch(&mut self, ask: &PageAsk) -> Result<Page> {
        let total = self.tell.is_some();
        loop {
            let page = self.client.page(self.kind, &self.by, ask, total).await?;
            if let Some(wait) = self.unsettled(&page) {
                tracing::debug!(
                    ?wait,
                    "a page is fetched again when it can't change any more"
                );
                tokio::time::sleep(wait).await;
                continue;
            }
            // Within a second, it is how many rows that has.
            if let (false, Some(rows)) = (ask.total, page.total)
                && let Some(pagesize) = self.tell.take()
            {
                let about = About(requests_for(rows, pagesize));
                tracing::info!(stream = self.kind.name(), rows, "continues: {about} needed");
            }
            return Ok(page);
        }
    }

    /// How long to wait until an answer has all that lies in the window, if this one may not.
    fn unsettled(&self, page: &Page) -> Option<Duration> {
        let now = page.answer.server_time()?.timestamp();
        let missing = u64::try_from(self.settled? - now).ok()?;
        (missing > 0).then(|| Duration::from_secs(missing))
    }

    fn rows(&self, page: &Page, new: &[usize]) -> Result<Vec<(StreamName, Rows)>> {
        let mut rows = Vec::with_capacity(self.lanes.len());
        for lane in &self.lanes {
            match lane {
                Lane::Raw(scan) => {
                    let row = raw::row(scan, self.kind.name(), &page.answer)?;
                    rows.push((scan.stream.clone(), row));
                }
                Lane::Typed(_, _) if new.is_empty() => {}
                Lane::Typed(stream, decoder) => {
                    let origin = page.answer.shown_url().into();
                    let encoded = decoder.rows(array(&page.rows, new), origin);
                    rows.push((stream.clone(), Rows::Encoded(encoded)));
                }
            }
        }
        Ok(rows)
    }
}

/// These rows as a JSON array.
fn array(rows: &[Bytes], which: &[usize]) -> Bytes {
    let length: usize = which.iter().map(|i| rows[*i].len() + 1).sum();
    let mut array = BytesMut::with_capacity(length + 1);
    for (n, i) in which.iter().enumerate() {
        array.put_u8(if n == 0 { b'[' } else { b',' });
        array.put_slice(&rows[*i]);
    }
    array.put_u8(b']');
    array.freeze()
}
