use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{Decode, Decoded, Event, Offset, Result, Rows, StreamName};
use tidegate_formats::Decoder;
use tidegate_http::Response;

use crate::Records;

/// A page's events: its rows for each stream that is read, in this order, and `end`, the position
/// after the page, on the last of them. A page that no stream wants anything of only moves the
/// position.
pub fn page_events(rows: Vec<(StreamName, Rows)>, end: Offset) -> Vec<Event> {
    let Some(last) = rows.len().checked_sub(1) else {
        return vec![Event::Progress(end)];
    };
    let rows = rows.into_iter().enumerate();
    rows.map(|(at, (stream, rows))| Event::Rows {
        stream,
        rows,
        rejected: None,
        resume: (at == last).then(|| end.clone()),
    })
    .collect()
}

/// A page's records, which a worker decodes. A record that doesn't fit is rejected with its text,
/// the reason, the answer's URL (without secrets) as its file, and its place in the answer's body.
pub fn encoded(records: &Records, answer: &Response, decoder: Decoder) -> Rows {
    Rows::Encoded(Box::new(Page {
        records: records.json.clone(),
        body: answer.body.clone(),
        decoder,
        origin: answer.shown_url().into(),
    }))
}

struct Page {
    records: Bytes,
    body: Bytes,
    decoder: Decoder,
    origin: Arc<str>,
}

impl Page {
    /// Where in the body the records begin; `None` if they were put together anew.
    fn start(&self) -> Option<usize> {
        let start = self.records.as_ptr().addr();
        let start = start.checked_sub(self.body.as_ptr().addr())?;
        (start + self.records.len() <= self.body.len()).then_some(start)
    }
}

impl Decode for Page {
    fn size(&self) -> usize {
        self.body.len()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let start = self.start();
        let mut decoded = self.decoder.decode_all(self.records, &self.origin)?;
        if decoded.rejected.is_empty() && decoded.ignored.is_empty() {
            return Ok(decoded);
        }
        let before = start.map(|start| &self.body[..start]);
        let lines = before.map(|before| before.iter().filter(|byte| **byte == b'\n').count());
        let add = |to: Option<u64>, more: Option<usize>| to?.checked_add(more?.try_into().ok()?);
        let rows = decoded.rejected.rows.iter_mut().map(|row| &mut row.origin);
        let columns = decoded.ignored.iter_mut().map(|column| &mut column.first);
        for origin in rows.chain(columns) {
            origin.offset = add(origin.offset, start);
            origin.line = add(origin.line, lines);
        }
        Ok(decoded)
    }
}
