//! Rows as the API sends them to Arrow.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{Decode, Decoded, Result, Scan};

use crate::streams::Kind;

/// Decodes the rows of one stream, as a scan asks for them.
#[derive(Debug)]
pub(crate) struct RowDecoder;

impl RowDecoder {
    /// With `entities`, texts that a safe filter encodes are decoded.
    pub(crate) fn new(kind: Kind, scan: &Scan, entities: bool) -> Result<Self> {
        let _ = (kind, scan, entities);
        unimplemented!("the next landing")
    }

    /// The rows of a page, for a worker: a JSON array (or rows with commas or white space between
    /// them), and the page's address as it may be shown.
    pub(crate) fn rows(self: &Arc<Self>, rows: Bytes, origin: Arc<str>) -> Box<dyn Decode> {
        Box::new(EncodedRows {
            rows,
            decoder: Arc::clone(self),
            origin,
        })
    }
}

struct EncodedRows {
    rows: Bytes,
    decoder: Arc<RowDecoder>,
    origin: Arc<str>,
}

impl Decode for EncodedRows {
    fn size(&self) -> usize {
        self.rows.len()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let _ = (&self.decoder, &self.origin);
        unimplemented!("the next landing")
    }
}
