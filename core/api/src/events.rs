use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{Decode, Decoded, Event, Offset, Result, Rows, StreamName};
use tidegate_formats::Decoder;

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

/// A page's records, a JSON array, which a worker decodes. A record that doesn't fit is rejected
/// with its text, the reason, and `origin` (the URL without secrets) as its file.
pub fn encoded(records: Bytes, decoder: Decoder, origin: impl Into<Arc<str>>) -> Rows {
    Rows::Encoded(Box::new(Records {
        json: records,
        decoder,
        origin: origin.into(),
    }))
}

struct Records {
    json: Bytes,
    decoder: Decoder,
    origin: Arc<str>,
}

impl Decode for Records {
    fn size(&self) -> usize {
        self.json.len()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        self.decoder.decode_all(self.json, &self.origin)
    }
}
