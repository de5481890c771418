//! Many rows, as the bytes that came.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use mysql_common::packets::Column;
use tidegate_core::{Error, Result};

use super::connection::Connection;
use super::server::{lost, of_packet, strange};
use super::transport::{FULL, HEADER, length_at};

/// How far a chunk may go over the bytes that were asked for, before its buffer grows.
const SLACK: usize = 64 << 10;

/// How many buffers are kept for chunks to come: as many as are decoded at a time, about.
const KEPT: usize = 4;

/// Where a row's payload lies, from its first byte to past its last.
pub(crate) type RowBounds = (u32, u32);

/// Whole rows in the binary protocol, as the server sent them.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    /// Where in `bytes` the places are counted from.
    start: usize,
    rows: Vec<RowBounds>,
    /// Where its buffers go when it was decoded.
    pool: Weak<Pool>,
}

impl Chunk {
    /// Rows that were made here; each as the bytes from and to which it lies.
    pub(crate) fn of(bytes: Vec<u8>, rows: Vec<(u32, u32)>) -> Self {
        Self {
            bytes,
            start: 0,
            rows,
            pool: Weak::new(),
        }
    }

    /// The rows' payloads: the byte 0, the bits of NULLs, the values.
    pub(crate) fn rows(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        let bytes = &self.bytes[self.start..];
        self.rows
            .iter()
            .map(|(from, to)| &bytes[wide(*from)..wide(*to)])
    }

    /// What the rows lie in, and where each of their payloads does.
    pub(crate) fn places(&self) -> (&[u8], &[RowBounds]) {
        (&self.bytes[self.start..], &self.rows)
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The bytes it holds in memory.
    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity() + self.rows.capacity() * size_of::<RowBounds>()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(
                std::mem::take(&mut self.bytes),
                std::mem::take(&mut self.rows),
            );
        }
    }
}

/// Buffers of chunks that were decoded, for chunks to come: memory that is new costs the system a
/// visit for each of its pages.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<(Vec<u8>, Vec<RowBounds>)>>);

impl Pool {
    fn get(&self) -> (Vec<u8>, Vec<RowBounds>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().unwrap_or_default()
    }

    fn put(&self, bytes: Vec<u8>, mut rows: Vec<RowBounds>) {
        rows.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push((bytes, rows));
        }
    }

    fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// What stands at a place of what was read.
enum Found {
    /// A whole row.
    Row(RowBounds),
    /// A row that comes in pieces.
    Large,
    End,
    /// The server's error.
    Error(RowBounds),
    /// Nothing whole yet; so many bytes are missing at least.
    Part(usize),
    Strange,
}

/// Rows that are being read; the connection comes back at the end.
#[derive(Debug)]
pub(crate) struct Rows {
    connection: Connection,
    statement: u32,
    columns: Arc<[Column]>,
    doing: &'static str,
    ended: bool,
    /// What is told when the rows that came before were taken.
    failed: Option<Error>,
}

impl Rows {
    pub(super) fn new(
        connection: Connection,
        statement: u32,
        columns: Arc<[Column]>,
        doing: &'static str,
    ) -> Self {
        Self {
            connection,
            statement,
            columns,
            doing,
            ended: false,
            failed: None,
        }
    }

    /// What the rows are made of.
    pub(crate) fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// The connection, for the next thing to ask; `None` if there are rows left to read, or they
    /// ended with an error.
    pub(crate) fn into_connection(self) -> Option<Connection> {
        self.connection.pool.clear();
        self.ended.then_some(self.connection)
    }

    /// The next rows: about `bytes` of them and at most `most`, at least one. `None`: there are no
    /// more. It may be dropped and called again.
    ///
    /// What is read from the socket becomes the chunk itself; nothing is copied but the row at the
    /// end that is not yet whole, small chunks, and rows of 16 MiB and more, which come in pieces.
    ///
    /// Errors: what the server says in the middle of the rows; `Transient` when it says nothing for
    /// the time that it has, or the connection breaks; `Data` when a row of 16 MiB and more is
    /// longer than [`Address::max_row`](super::Address::max_row). Rows that came before are given
    /// first.
    pub(crate) async fn next(&mut self, bytes: usize, most: usize) -> Result<Option<Chunk>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.ended {
            return Ok(None);
        }
        let (next, mut rows) = self.connection.pool.get();
        let mut at = 0;
        loop {
            let unread = self.connection.transport.unread();
            let found = loop {
                match look(unread, at) {
                    Found::Row(place) if rows.len() < most && at < bytes.max(1) => {
                        at = wide(place.1);
                        rows.push(place);
                    }
                    found => break found,
                }
            };
            match found {
                Found::Part(missing) if rows.is_empty() || at < bytes => {
                    let room = bytes.saturating_add(SLACK).saturating_sub(unread.len());
                    let filled = self.connection.transport.fill(room.max(missing)).await;
                    match filled.map_err(|error| lost(self.doing, error)) {
                        Ok(()) => {}
                        Err(error) if rows.is_empty() => return Err(error),
                        Err(error) => {
                            self.failed = Some(error);
                            break;
                        }
                    }
                }
                // All else is met again, and then alone.
                _ if !rows.is_empty() => break,
                Found::Large => return self.large().await.map(Some),
                Found::End => {
                    self.ended = true;
                    self.connection.finished(self.statement);
                    return Ok(None);
                }
                Found::Error((from, to)) => {
                    let error = &unread[wide(from)..wide(to)];
                    return Err(of_packet(self.doing, error, self.connection.capabilities));
                }
                Found::Row(_) | Found::Part(_) | Found::Strange => return Err(strange(self.doing)),
            }
        }
        Ok(Some(self.take(at, rows, next)))
    }

    fn take(&mut self, length: usize, rows: Vec<RowBounds>, next: Vec<u8>) -> Chunk {
        let Connection {
            transport, pool, ..
        } = &mut self.connection;
        // A chunk is no reason to hold much more memory than it needs.
        let small = length < transport.room() / 4;
        let (bytes, start) = match small {
            true => {
                pool.put(next, Vec::new());
                (transport.copy(length), 0)
            }
            false => transport.take(length, next),
        };
        Chunk {
            bytes,
            start,
            rows,
            pool: if small {
                Weak::new()
            } else {
                Arc::downgrade(pool)
            },
        }
    }

    /// A row that comes in pieces.
    async fn large(&mut self) -> Result<Chunk> {
        let most = self.connection.max_row;
        let payload = self.connection.transport.read(most.left()).await;
        let bytes = payload.map_err(|unread| most.unread(self.doing, unread))?;
        let length = u32::try_from(bytes.len()).map_err(|_| strange(self.doing))?;
        Ok(Chunk {
            bytes,
            start: 0,
            rows: vec![(0, length)],
            pool: Weak::new(),
        })
    }
}

/// A `u32` is a `usize` wherever this runs.
fn wide(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What stands at `at`.
fn look(unread: &[u8], at: usize) -> Found {
    let Some(length) = length_at(unread, at) else {
        return Found::Part(HEADER);
    };
    let (from, to) = (at + HEADER, at + HEADER + length);
    let first = match unread.get(from) {
        _ if length == 0 => return Found::Strange,
        None => return Found::Part(length),
        Some(first) => *first,
    };
    if first == 0x00 && length == FULL {
        return Found::Large;
    }
    if unread.len() < to {
        return Found::Part(to - unread.len());
    }
    let (Ok(from), Ok(to)) = (u32::try_from(from), u32::try_from(to)) else {
        return Found::Strange;
    };
    match first {
        0x00 => Found::Row((from, to)),
        0xFE => Found::End,
        0xFF => Found::Error((from, to)),
        _ => Found::Strange,
    }
}
