//! Packets over a socket.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A payload of this length is continued by the next packet.
pub(super) const FULL: usize = 0xFF_FFFF;

/// The length of a packet's header: three bytes of length, one of sequence.
pub(super) const HEADER: usize = 4;

pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Send + Sync> Socket for T {}

pub(super) type AnySocket = Pin<Box<dyn Socket>>;

/// How much room there is for what the socket has, unless more is known to come.
const READ: usize = 16 << 10;

/// A greeting is some version, some numbers and the name of a plugin.
const LONGEST_GREETING: usize = 4 << 10;

/// So much of a statement is sent before the wait for the server begins anew.
const WRITE: usize = 1 << 20;

/// Why no payload was received.
#[derive(Debug)]
pub(super) enum Unread {
    Lost(io::Error),
    /// It is longer than asked for: so many bytes at least.
    Long(usize),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// A socket, and the packets that go over it.
pub(super) struct Transport {
    socket: AnySocket,
    /// What has been read.
    buffer: Vec<u8>,
    /// Up to here it has been taken.
    taken: usize,
    sequence: u8,
    patience: Duration,
}

impl Transport {
    /// `patience` is how long the server may say nothing.
    pub(super) fn new(socket: impl Socket + 'static, patience: Duration) -> Self {
        Self {
            socket: Box::pin(socket),
            buffer: Vec::new(),
            taken: 0,
            sequence: 0,
            patience,
        }
    }

    /// The socket without the packets, to lay TLS over it. An error if the server said something
    /// before its turn: whoever sits between could have put it there.
    pub(super) fn into_socket(self) -> Option<(AnySocket, u8, Duration)> {
        let nothing = self.taken == self.buffer.len();
        nothing.then_some((self.socket, self.sequence, self.patience))
    }

    /// Continues with packet numbers where another layer left off.
    pub(super) fn with_sequence(mut self, sequence: u8) -> Self {
        self.sequence = sequence;
        self
    }

    /// Sends a command: a packet with which the count begins anew.
    pub(super) async fn command(&mut self, code: u8, body: &[u8]) -> io::Result<()> {
        self.sequence = 0;
        self.buffer.clear();
        self.taken = 0;
        self.send(&[code], body).await
    }

    /// Sends a payload, in as many packets as it takes.
    pub(super) async fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        self.send(&[], payload).await
    }

    /// Sends a payload that is made of two; the first is short.
    async fn send(&mut self, first: &[u8], payload: &[u8]) -> io::Result<()> {
        let mut first = first;
        let mut rest = payload;
        loop {
            let (piece, after) = rest.split_at(rest.len().min(FULL - first.len()));
            let length = first.len() + piece.len();
            let header = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
            // The beginning goes out with the header: a packet of its own would wait for an answer.
            let (beginning, large) = piece.split_at(piece.len().min(READ));
            let mut out = Vec::with_capacity(HEADER + first.len() + beginning.len());
            out.extend_from_slice(&header[..3]);
            out.push(self.sequence);
            out.extend_from_slice(first);
            out.extend_from_slice(beginning);
            self.put(&out).await?;
            for part in large.chunks(WRITE) {
                self.put(part).await?;
            }
            self.sequence = self.sequence.wrapping_add(1);
            first = &[];
            rest = after;
            // A full packet is always followed by another one, be it empty.
            if length < FULL {
                break;
            }
        }
        within(self.patience, self.socket.flush()).await
    }

    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(self.patience, self.socket.write_all(bytes)).await
    }

    /// Receives the first payload. What is no MySQL server says something else, or what would be
    /// the length of a very long greeting.
    pub(super) async fn greeting(&mut self) -> io::Result<Option<Vec<u8>>> {
        while self.buffer.len() < HEADER {
            self.fill(READ).await?;
        }
        match length_at(&self.buffer, 0) {
            Some(0..=LONGEST_GREETING) => match self.read(LONGEST_GREETING).await {
                Ok(greeting) => Ok(Some(greeting)),
                Err(Unread::Lost(error)) => Err(error),
                Err(Unread::Long(_)) => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Receives a payload of at most `most` bytes, joined from as many packets as it came in. No
    /// memory is taken for what is longer.
    pub(super) async fn read(&mut self, most: usize) -> Result<Vec<u8>, Unread> {
        let mut payload = Vec::new();
        loop {
            let length = loop {
                match length_at(&self.buffer, self.taken) {
                    Some(length) => break length,
                    None => self.fill(READ).await?,
                }
            };
            self.sequence = self.buffer[self.taken + 3].wrapping_add(1);
            self.taken += HEADER;
            // What isn't there yet is read to where it belongs, and not past it.
            let wanted = payload.len() + length;
            if wanted > most {
                return Err(Unread::Long(wanted));
            }
            let there = (self.buffer.len() - self.taken).min(length);
            payload.reserve_exact(length);
            payload.extend_from_slice(&self.buffer[self.taken..self.taken + there]);
            self.taken += there;
            while payload.len() < wanted {
                let left = u64::try_from(wanted - payload.len()).unwrap_or(u64::MAX);
                let mut socket = (&mut self.socket).take(left);
                let read = socket.read_buf(&mut payload);
                ended(within(self.patience, read).await?)?;
            }
            if length < FULL {
                return Ok(payload);
            }
        }
    }

    /// What has been read and not yet taken.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Reads once, with room for `room` bytes. An error at the end: no answer ends with the socket.
    pub(super) async fn fill(&mut self, room: usize) -> io::Result<()> {
        if self.buffer.capacity() - self.buffer.len() < room {
            self.buffer.drain(..self.taken);
            self.taken = 0;
            self.buffer.reserve(room);
        }
        let read = self.socket.read_buf(&mut self.buffer);
        ended(within(self.patience, read).await?)
    }

    /// How many bytes the buffer can hold.
    pub(super) fn room(&self) -> usize {
        self.buffer.capacity()
    }

    /// Takes a copy of the first `length` bytes of what is unread.
    pub(super) fn copy(&mut self, length: usize) -> Vec<u8> {
        let bytes = self.unread()[..length].to_vec();
        self.taken += length;
        bytes
    }

    /// Takes the first `length` bytes of what is unread, and gives the buffer with them and where
    /// they begin in it; `next` becomes the buffer. Nothing is copied but what stays unread.
    pub(super) fn take(&mut self, length: usize, mut next: Vec<u8>) -> (Vec<u8>, usize) {
        let end = self.taken + length;
        next.clear();
        next.extend_from_slice(&self.buffer[end..]);
        let mut bytes = std::mem::replace(&mut self.buffer, next);
        bytes.truncate(end);
        (bytes, std::mem::take(&mut self.taken))
    }
}

fn ended(read: usize) -> io::Result<()> {
    match read {
        0 => Err(io::Error::new(
            io::ErrorKind::ConnectionReset,
            "the server closed the connection",
        )),
        _ => Ok(()),
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// The length of the packet whose header begins at `at`, if the header is there.
pub(super) fn length_at(buffer: &[u8], at: usize) -> Option<usize> {
    let header = buffer.get(at..at + HEADER)?;
    Some(usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16)
}

async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(patience, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the server said nothing for {} s", patience.as_secs()),
        )),
    }
}
