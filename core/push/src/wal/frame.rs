//! How a record lies in a segment.
//!
//! ```text
//! crc of the header's rest │ crc of the record │ length │ bytes since the group's first frame │ position │ record
//!           u32            │        u32        │  u32   │                u32                 │   u64    │
//! ```
//!
//! All little-endian. A group is what one sync makes durable; the next is only begun when it is. So a
//! frame of a later group proves that what comes before its group was durable.

/// How long a frame's header is.
pub(crate) const HEADER: usize = 24;

/// The longest record: its length, header and place in a group are counted by 32 bits.
pub(crate) const LONGEST: usize = 1 << 30;

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The checksum of the record.
    pub(crate) sum: u32,
    /// The record's length.
    pub(crate) length: u32,
    /// How many bytes before this frame its group begins.
    pub(crate) back: u32,
    /// The frame's position.
    pub(crate) at: u64,
}

impl Header {
    /// As it is written.
    pub(crate) fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[4..8].copy_from_slice(&self.sum.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.back.to_le_bytes());
        bytes[16..].copy_from_slice(&self.at.to_le_bytes());
        let own = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    /// The header at the beginning of `bytes`; `None` if there is no whole or valid one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let number = |at: usize| {
            let [a, b, c, d] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            u32::from_le_bytes([a, b, c, d])
        };
        if number(0) != crc32fast::hash(&bytes[4..]) {
            return None;
        }
        let at = u64::from(number(16)) | u64::from(number(20)) << 32;
        Some(Self {
            sum: number(4),
            length: number(8),
            back: number(12),
            at,
        })
    }

    /// How long the frame is.
    pub(crate) fn frame(self) -> usize {
        HEADER + self.length as usize
    }
}

/// The record at the beginning of `bytes`, if a whole and valid frame of position `at` is there.
pub(crate) fn record(bytes: &[u8], at: u64) -> Option<(Header, &[u8])> {
    let header = Header::read(bytes).filter(|header| header.at == at)?;
    let record = bytes.get(HEADER..header.frame())?;
    (crc32fast::hash(record) == header.sum).then_some((header, record))
}
