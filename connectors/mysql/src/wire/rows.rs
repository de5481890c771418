//! Many rows, as the bytes that came.

use std::ops::Range;
use std::sync::Arc;

use mysql_common::packets::Column;
use tidegate_core::Result;

use super::connection::Connection;
use super::server::{lost, of_packet, strange};
use super::transport::{FULL, HEADER, length_at};

/// How much is asked of the socket at once.
const READ: usize = 256 << 10;

/// Whole rows in the binary protocol, as the server sent them.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    rows: Vec<Range<usize>>,
}

impl Chunk {
    /// The rows' payloads: the byte 0, the bits of NULLs, the values.
    pub(crate) fn rows(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.rows.iter().map(|row| &self.bytes[row.clone()])
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The bytes it holds in memory.
    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity() + self.rows.capacity() * size_of::<Range<usize>>()
    }
}

/// Rows that are being read; the connection comes back at the end.
#[derive(Debug)]
pub(crate) struct Rows {
    connection: Connection,
    columns: Arc<[Column]>,
    doing: &'static str,
    ended: bool,
}

impl Rows {
    pub(super) fn new(connection: Connection, columns: Arc<[Column]>, doing: &'static str) -> Self {
        Self {
            connection,
            columns,
            doing,
            ended: false,
        }
    }

    /// What the rows are made of.
    pub(crate) fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// The connection, for the next thing to ask; `None` if there are rows left to read.
    pub(crate) fn into_connection(self) -> Option<Connection> {
        self.ended.then_some(self.connection)
    }

    /// The next rows: about `bytes` of them and at most `most`, at least one. `None`: there are no
    /// more.
    ///
    /// What is read from the socket becomes the chunk itself; nothing is copied but the row at the
    /// end that is not yet whole, and rows of 16 MiB and more, which come in pieces.
    pub(crate) async fn next(&mut self, bytes: usize, most: usize) -> Result<Option<Chunk>> {
        if self.ended {
            return Ok(None);
        }
        let mut rows = Vec::new();
        // Up to here the buffer has been looked at.
        let mut at = 0;
        loop {
            let buffer = &self.connection.transport.buffer;
            let whole = length_at(buffer, at).filter(|length| buffer.len() >= at + HEADER + length);
            let Some(length) = whole else {
                if at >= bytes && !rows.is_empty() {
                    return Ok(Some(self.take(at, rows)));
                }
                let missing = length_at(buffer, at).map_or(0, |length| {
                    (at + HEADER + length).saturating_sub(buffer.len())
                });
                let filled = self.connection.transport.fill(READ.max(missing)).await;
                filled.map_err(|error| lost(self.doing, error))?;
                continue;
            };
            let payload = at + HEADER..at + HEADER + length;
            match buffer.get(payload.start).filter(|_| length > 0) {
                Some(0x00) if length < FULL => {
                    at = payload.end;
                    rows.push(payload);
                    if rows.len() >= most {
                        return Ok(Some(self.take(at, rows)));
                    }
                }
                Some(0x00) => {
                    // Comes in pieces: first what stands before it, then it alone.
                    if !rows.is_empty() {
                        return Ok(Some(self.take(at, rows)));
                    }
                    let payload = self.connection.transport.read().await;
                    let payload = payload.map_err(|error| lost(self.doing, error))?;
                    let row = 0..payload.len();
                    return Ok(Some(Chunk {
                        bytes: payload,
                        rows: vec![row],
                    }));
                }
                Some(0xFE) if length < FULL => {
                    if !rows.is_empty() {
                        // The end is met again, and then alone.
                        return Ok(Some(self.take(at, rows)));
                    }
                    self.ended = true;
                    return Ok(None);
                }
                Some(0xFF) => {
                    let error = &buffer[payload];
                    return Err(of_packet(self.doing, error, self.connection.capabilities));
                }
                _ => return Err(strange(self.doing)),
            }
        }
    }

    fn take(&mut self, end: usize, rows: Vec<Range<usize>>) -> Chunk {
        let buffer = &mut self.connection.transport.buffer;
        let rest = buffer[end..].to_vec();
        let mut bytes = std::mem::replace(buffer, rest);
        bytes.truncate(end);
        Chunk { bytes, rows }
    }
}
