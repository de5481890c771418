//! Events of the binlog: what every one begins with, and what those hold that say where we are.
//!
//! The layouts are those of MySQL's "Replication Protocol" and MariaDB's "Replication Protocol"
//! pages (MariaDB Knowledge Base: "2-Binlog Event Header" to "Compressed Events").

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, ZlibDecoder};
use mysql_common::binlog::events::TransactionPayloadReader;

use super::bytes::{Broken, Bytes, Unfit};

/// The length of an event's header.
const HEADER: usize = 19;

/// Set in the header's flags of events that the server made up for us and that don't stand in a
/// file.
const ARTIFICIAL: u16 = 0x20;

/// Set in the flags of events that mean nothing to those who don't know them.
const IGNORABLE: u16 = 0x80;

/// What an event is, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Query {
        compressed: bool,
    },
    Stop,
    Rotate,
    FormatDescription,
    Xid,
    TableMap,
    Rows(RowsKind),
    /// MySQL's JSON differences instead of values.
    PartialUpdate,
    /// The server has lost events.
    Incident,
    Heartbeat,
    MySqlGtid,
    AnonymousGtid,
    MySqlTaggedGtid,
    XaPrepare,
    TransactionPayload,
    MariaDbGtid,
    /// Known to carry nothing for us.
    Nothing,
    Unknown,
}

/// An event of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowsKind {
    pub(super) change: Change,
    /// Its header has room for more (version 2).
    pub(super) extra: bool,
    /// The rows are compressed (MariaDB).
    pub(super) compressed: bool,
}

/// What happened to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Insert,
    Update,
    Delete,
}

impl Kind {
    fn of(number: u8) -> Self {
        let rows = |change, extra, compressed| {
            Self::Rows(RowsKind {
                change,
                extra,
                compressed,
            })
        };
        use Change::{Delete, Insert, Update};
        match number {
            2 => Self::Query { compressed: false },
            3 => Self::Stop,
            4 => Self::Rotate,
            15 => Self::FormatDescription,
            16 => Self::Xid,
            19 => Self::TableMap,
            23 => rows(Insert, false, false),
            24 => rows(Update, false, false),
            25 => rows(Delete, false, false),
            26 => Self::Incident,
            27 | 41 => Self::Heartbeat,
            30 => rows(Insert, true, false),
            31 => rows(Update, true, false),
            32 => rows(Delete, true, false),
            33 => Self::MySqlGtid,
            34 => Self::AnonymousGtid,
            38 => Self::XaPrepare,
            39 => Self::PartialUpdate,
            40 => Self::TransactionPayload,
            42 => Self::MySqlTaggedGtid,
            162 => Self::MariaDbGtid,
            165 => Self::Query { compressed: true },
            166 => rows(Insert, false, true),
            167 => rows(Update, false, true),
            168 => rows(Delete, false, true),
            169 => rows(Insert, true, true),
            170 => rows(Update, true, true),
            171 => rows(Delete, true, true),
            // Values for the statement that follows; annotations; lists of GTIDs; group
            // replication's own; MariaDB's checkpoints and the beginning of encryption (what comes
            // to us is already decrypted).
            5 | 13 | 14 | 28 | 29 | 35 | 36 | 37 | 160 | 161 | 163 | 164 => Self::Nothing,
            _ => Self::Unknown,
        }
    }

    /// Whether a transaction, or a statement outside of one, begins by it.
    pub(super) fn begins_transaction(self) -> bool {
        matches!(
            self,
            Self::MariaDbGtid | Self::MySqlGtid | Self::AnonymousGtid | Self::MySqlTaggedGtid
        )
    }
}

/// Whether events end with a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    None,
    Crc32,
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) kind: Kind,
    pub(super) number: u8,
    /// Seconds since 1970 at which its statement began.
    pub(super) time: u32,
    pub(super) server_id: u32,
    /// Its length in the file, checksum included.
    pub(super) size: u32,
    /// The lower 32 bits of where it ends in the file; 0 if it doesn't stand in one.
    pub(super) end: u32,
    flags: u16,
    /// What follows the header, without the checksum.
    pub(super) body: &'a [u8],
}

impl<'a> Event<'a> {
    /// Takes the event apart, and checks its checksum.
    pub(super) fn parse(bytes: &'a [u8], checksum: Checksum) -> Result<Self, Broken> {
        let mut header = Bytes(bytes);
        let time = header.u32()?;
        let number = header.u8()?;
        let server_id = header.u32()?;
        let size = header.u32()?;
        let end = header.u32()?;
        let flags = header.u16()?;
        let kind = Kind::of(number);
        if usize::try_from(size) != Ok(bytes.len()) {
            return Err(Broken);
        }
        // A format description always has room for a checksum, whatever holds for the others; it
        // says which it is, so it is looked at as it is.
        let body = match (checksum, kind) {
            (Checksum::Crc32, kind) if kind != Kind::FormatDescription => {
                let (covered, sum) = bytes.split_last_chunk().ok_or(Broken)?;
                let mut crc = flate2::Crc::new();
                crc.update(covered);
                if crc.sum() != u32::from_le_bytes(*sum) {
                    return Err(Broken);
                }
                covered
            }
            _ => bytes,
        };
        Ok(Self {
            kind,
            number,
            time,
            server_id,
            size,
            end,
            flags,
            body: body.get(HEADER..).ok_or(Broken)?,
        })
    }

    /// Whether one who doesn't know it may pass it over.
    pub(super) fn is_ignorable(&self) -> bool {
        self.flags & IGNORABLE != 0
    }

    /// Whether it stands in the file, so that the position moves by it. A heartbeat says where the
    /// server is, too, and doesn't.
    pub(super) fn is_real(&self) -> bool {
        self.end != 0 && self.flags & ARTIFICIAL == 0 && self.kind != Kind::Heartbeat
    }
}

/// What a format description says of the events after it.
pub(super) fn checksum_told(body: &[u8]) -> Result<Checksum, Broken> {
    // Version of the binlog, version of the server, time, header length, lengths of the fixed
    // parts by number of event, algorithm, and room for a checksum.
    let mut bytes = Bytes(body);
    let version = bytes.u16()?;
    bytes.take(50 + 4)?;
    if version != 4 || usize::from(bytes.u8()?) != HEADER {
        return Err(Broken);
    }
    let algorithm = body.len().checked_sub(5).and_then(|at| body.get(at));
    match algorithm {
        Some(1) => Ok(Checksum::Crc32),
        Some(0 | 255) => Ok(Checksum::None),
        _ => Err(Broken),
    }
}

/// The file that a rotation leads to, and the position in it.
pub(super) fn rotation(body: &[u8]) -> Result<(u64, String), Broken> {
    let mut bytes = Bytes(body);
    let position = bytes.u64()?;
    let name = std::str::from_utf8(bytes.rest()).map_err(|_| Broken)?;
    Ok((position, name.to_owned()))
}

/// A statement in the binlog.
#[derive(Debug)]
pub(super) struct Query {
    /// The database that it was given in.
    pub(super) database: String,
    pub(super) text: String,
}

impl Query {
    /// `most`: the most bytes of its text, if that is compressed.
    pub(super) fn parse(body: &[u8], compressed: bool, most: usize) -> Result<Self, Unfit> {
        let mut bytes = Bytes(body);
        bytes.take(8)?;
        let database = usize::from(bytes.u8()?);
        bytes.u16()?;
        let variables = usize::from(bytes.u16()?);
        bytes.take(variables)?;
        let database = String::from_utf8_lossy(bytes.take(database)?).into_owned();
        bytes.u8()?;
        let text = match compressed {
            false => Cow::Borrowed(bytes.rest()),
            true => Cow::Owned(inflate(bytes.rest(), most)?),
        };
        Ok(Self {
            database,
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }
}

/// MariaDB's compressed data, of events and of columns: a byte (its highest bit set, then three of
/// the algorithm, of which there is only zlib, one for data without zlib's frame, and in the lowest
/// three how long the length is), the length, the data. These may be `most` bytes.
pub(super) fn inflate(bytes: &[u8], most: usize) -> Result<Vec<u8>, Unfit> {
    let mut bytes = Bytes(bytes);
    let head = bytes.u8()?;
    if head & 0xF0 != 0x80 {
        return Err(Unfit::Broken);
    }
    let length = bytes.uint_be(usize::from(head & 7))?;
    let capacity = usize::try_from(length).map_err(|_| Broken)?;
    if capacity > most {
        return Err(Unfit::Long(capacity));
    }
    // One byte too many is asked for, so that data longer than told is noticed.
    let asked = length.saturating_add(1);
    let mut data = Vec::new();
    match head & 8 {
        0 => ZlibDecoder::new(bytes.rest())
            .take(asked)
            .read_to_end(&mut data),
        _ => DeflateDecoder::new(bytes.rest())
            .take(asked)
            .read_to_end(&mut data),
    }
    .map_err(|_| Broken)?;
    match data.len() == capacity {
        true => Ok(data),
        false => Err(Unfit::Broken),
    }
}

/// What MariaDB says before each group of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MariaDbGtid {
    pub(super) domain: u32,
    pub(super) sequence: u64,
    /// The group is one statement, without an end of its own.
    pub(super) standalone: bool,
    /// It prepares a distributed transaction, which may still be rolled back.
    pub(super) prepared: bool,
}

impl MariaDbGtid {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Broken> {
        let mut bytes = Bytes(body);
        let sequence = bytes.u64()?;
        let domain = bytes.u32()?;
        let flags = bytes.u8()?;
        Ok(Self {
            domain,
            sequence,
            standalone: flags & 0x01 != 0,
            prepared: flags & 0x40 != 0,
        })
    }
}

/// What MySQL says before each transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MySqlGtid {
    pub(super) source: [u8; 16],
    pub(super) number: u64,
    /// When it was committed where it came from, in microseconds since 1970; from MySQL 8.0.1 on.
    pub(super) committed: Option<u64>,
}

impl MySqlGtid {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Broken> {
        let mut bytes = Bytes(body);
        bytes.u8()?;
        let source = bytes.take(16)?.try_into().map_err(|_| Broken)?;
        let number = bytes.u64()?;
        Ok(Self {
            source,
            number,
            committed: Self::committed(bytes),
        })
    }

    fn committed(mut bytes: Bytes<'_>) -> Option<u64> {
        // Type of the logical clock, last committed, sequence number, then times of 7 bytes; the
        // highest bit tells that the original time differs and follows.
        if bytes.u8().ok()? != 2 {
            return None;
        }
        bytes.take(16).ok()?;
        let immediate = bytes.uint(7).ok()?;
        match immediate & (1 << 55) {
            0 => Some(immediate),
            _ => bytes.uint(7).ok(),
        }
    }
}

/// A transaction whose events came compressed (MySQL from 8.0.20 on): its events, one after the
/// other, without checksums.
pub(super) struct Payload<'a> {
    events: Box<dyn Read + Send + 'a>,
    /// How long all of them are, if that is told.
    expected: Option<usize>,
    read: usize,
}

impl<'a> Payload<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Broken> {
        const END: usize = 0;
        const SIZE: usize = 1;
        const ALGORITHM: usize = 2;
        const UNCOMPRESSED: usize = 3;
        const ZSTD: usize = 0;
        const NONE: usize = 255;

        let mut bytes = Bytes(body);
        let (mut size, mut algorithm, mut expected) = (None, None, None);
        loop {
            let field = bytes.length()?;
            if field == END {
                break;
            }
            let mut value = Bytes(bytes.counted()?);
            match field {
                SIZE => size = Some(value.length()?),
                ALGORITHM => algorithm = Some(value.length()?),
                UNCOMPRESSED => expected = Some(value.length()?),
                _ => {}
            }
        }
        let payload = bytes.take(size.ok_or(Broken)?)?;
        let events: Box<dyn Read + Send + 'a> = match algorithm {
            Some(NONE) => Box::new(payload),
            Some(ZSTD) => {
                Box::new(TransactionPayloadReader::new_zstd(payload).map_err(|_| Broken)?)
            }
            _ => return Err(Broken),
        };
        Ok(Self {
            events,
            expected,
            read: 0,
        })
    }

    /// The next event, of at most `most` bytes; `None` behind the last one.
    pub(super) fn next(&mut self, most: usize) -> Result<Option<Vec<u8>>, Unfit> {
        let mut event = self.take(HEADER)?;
        if event.is_empty() {
            return match self.expected.is_none_or(|expected| expected == self.read) {
                true => Ok(None),
                false => Err(Unfit::Broken),
            };
        }
        let size = event.get(9..13).and_then(|size| size.first_chunk());
        let size = u32::from_le_bytes(*size.ok_or(Broken)?);
        let size = usize::try_from(size).map_err(|_| Broken)?;
        if size > most {
            return Err(Unfit::Long(size));
        }
        event.extend(self.take(size.checked_sub(HEADER).ok_or(Broken)?)?);
        match event.len() == size {
            true => Ok(Some(event)),
            false => Err(Unfit::Broken),
        }
    }

    /// The next bytes; fewer at the end.
    fn take(&mut self, length: usize) -> Result<Vec<u8>, Broken> {
        let mut bytes = Vec::new();
        let most = u64::try_from(length).map_err(|_| Broken)?;
        let read = (&mut self.events).take(most).read_to_end(&mut bytes);
        self.read += read.map_err(|_| Broken)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    #[test]
    fn what_is_compressed_is_as_long_as_it_may_be() {
        let mut encoder = ZlibEncoder::new(vec![0x83, 0x0F, 0x42, 0x40], Compression::default());
        encoder.write_all(&[b'x'; 1_000_000]).unwrap();
        let compressed = encoder.finish().unwrap();
        assert_eq!(inflate(&compressed, 1_000_000).unwrap().len(), 1_000_000);
        let long = inflate(&compressed, 999_999);
        assert!(matches!(long, Err(Unfit::Long(1_000_000))), "{long:?}");
    }

    fn event(size: u32) -> Vec<u8> {
        let mut event = vec![0; usize::try_from(size).unwrap()];
        event[9..13].copy_from_slice(&size.to_le_bytes());
        event
    }

    /// A payload that isn't compressed.
    fn payload(events: &[u8], told: usize) -> Vec<u8> {
        let mut body = Vec::new();
        let (size, told) = (events.len().to_le_bytes(), told.to_le_bytes());
        for (field, number) in [(1, size), (3, told)] {
            body.extend([field, 9, 0xFE]);
            body.extend(number);
        }
        // The algorithm: none. Then the end of the fields.
        body.extend([2, 3, 0xFC, 255, 0, 0]);
        body.extend_from_slice(events);
        body
    }

    #[test]
    fn each_event_of_a_transaction_is_as_long_as_it_may_be() {
        let events = [event(19), event(1_000), event(50)].concat();
        let body = payload(&events, events.len());
        let mut payload = Payload::parse(&body).unwrap();
        let mut sizes = Vec::new();
        while let Some(event) = payload.next(1_000).unwrap() {
            sizes.push(event.len());
        }
        assert_eq!(sizes, [19, 1_000, 50]);
        let mut payload = Payload::parse(&body).unwrap();
        payload.next(999).unwrap();
        let long = payload.next(999);
        assert!(matches!(long, Err(Unfit::Long(1_000))), "{long:?}");
    }

    #[test]
    fn a_transaction_that_ends_too_early_is_broken() {
        let events = [event(19), event(50)].concat();
        for (length, told) in [(69, 70), (68, 68), (20, 20), (37, 37)] {
            let body = payload(&events[..length], told);
            let mut payload = Payload::parse(&body).unwrap();
            payload.next(1_000).unwrap();
            let second = payload.next(1_000);
            let ended = second.and_then(|_| payload.next(1_000));
            assert!(matches!(ended, Err(Unfit::Broken)), "{length}: {ended:?}");
        }
    }
}
