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

/// A socket, and the packets that go over it.
pub(super) struct Transport {
    socket: Pin<Box<dyn Socket>>,
    /// What has been read and not yet taken.
    pub(super) buffer: Vec<u8>,
    sequence: u8,
    patience: Duration,
}

impl Transport {
    /// `patience` is how long the server may say nothing.
    pub(super) fn new(socket: impl Socket + 'static, patience: Duration) -> Self {
        Self {
            socket: Box::pin(socket),
            buffer: Vec::new(),
            sequence: 0,
            patience,
        }
    }

    /// The socket without the packets, to lay TLS over it. Nothing may have been read ahead.
    pub(super) fn into_socket(self) -> (Pin<Box<dyn Socket>>, u8, Duration) {
        (self.socket, self.sequence, self.patience)
    }

    /// Goes on with packet numbers where another layer left off.
    pub(super) fn with_sequence(mut self, sequence: u8) -> Self {
        self.sequence = sequence;
        self
    }

    /// Sends a command: a packet with which the count begins anew.
    pub(super) async fn command(&mut self, code: u8, body: &[u8]) -> io::Result<()> {
        self.sequence = 0;
        self.buffer.clear();
        let mut payload = Vec::with_capacity(body.len() + 1);
        payload.push(code);
        payload.extend_from_slice(body);
        self.write(&payload).await
    }

    /// Sends a payload, in as many packets as it takes.
    pub(super) async fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(payload.len() + HEADER);
        let mut rest = payload;
        loop {
            let (piece, after) = rest.split_at(rest.len().min(FULL));
            let length = u32::try_from(piece.len()).unwrap_or(u32::MAX).to_le_bytes();
            out.extend_from_slice(&length[..3]);
            out.push(self.sequence);
            self.sequence = self.sequence.wrapping_add(1);
            out.extend_from_slice(piece);
            rest = after;
            // A full packet is always followed by another one, be it empty.
            if piece.len() < FULL {
                break;
            }
        }
        let sent = async {
            self.socket.write_all(&out).await?;
            self.socket.flush().await
        };
        within(self.patience, sent).await
    }

    /// Receives a payload, joined from as many packets as it came in.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut payload = Vec::new();
        loop {
            let length = self.packet().await?;
            payload.extend_from_slice(&self.buffer[HEADER..HEADER + length]);
            self.buffer.drain(..HEADER + length);
            if length < FULL {
                return Ok(payload);
            }
        }
    }

    /// Makes sure that a whole packet stands at the beginning of the buffer; gives its length.
    async fn packet(&mut self) -> io::Result<usize> {
        loop {
            if let Some(length) = length_at(&self.buffer, 0)
                && self.buffer.len() >= HEADER + length
            {
                self.sequence = self.buffer[3].wrapping_add(1);
                return Ok(length);
            }
            self.fill(16 << 10).await?;
        }
    }

    /// Reads once, with room for `room` bytes. An error at the end: no answer ends with the socket.
    pub(super) async fn fill(&mut self, room: usize) -> io::Result<()> {
        self.buffer.reserve(room);
        match within(self.patience, self.socket.read_buf(&mut self.buffer)).await? {
            0 => Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the server closed the connection",
            )),
            _ => Ok(()),
        }
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
