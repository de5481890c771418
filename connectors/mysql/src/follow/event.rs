//! Events of the binlog: what every one begins with, and what those hold that say where we are.
//!
//! The layouts are those of MySQL's "Replication Protocol" and MariaDB's "Replication Protocol"
//! pages (MariaDB Knowledge Base: "2-Binlog Event Header" to "Compressed Events").

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::{DeflateDecoder, ZlibDecoder};

use super::bytes::{Broken, Bytes};

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
    pub(super) fn parse(body: &[u8], compressed: bool) -> Result<Self, Broken> {
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
            true => Cow::Owned(inflate(bytes.rest())?),
        };
        Ok(Self {
            database,
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }
}

/// MariaDB's compressed data, of events and of columns: a byte (its highest bit set, then three of
/// the algorithm, of which there is only zlib, one for data without zlib's frame, and in the lowest
/// three how long the length is), the length, the data.
pub(super) fn inflate(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
    let mut bytes = Bytes(bytes);
    let head = bytes.u8()?;
    if head & 0xF0 != 0x80 {
        return Err(Broken);
    }
    let length = bytes.uint_be(usize::from(head & 7))?;
    let capacity = usize::try_from(length).map_err(|_| Broken)?;
    // One byte too many is asked for, so that data longer than told is noticed.
    let most = length.saturating_add(1);
    let mut data = Vec::new();
    match head & 8 {
        0 => ZlibDecoder::new(bytes.rest())
            .take(most)
            .read_to_end(&mut data),
        _ => DeflateDecoder::new(bytes.rest())
            .take(most)
            .read_to_end(&mut data),
    }
    .map_err(|_| Broken)?;
    match data.len() == capacity {
        true => Ok(data),
        false => Err(Broken),
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
pub(super) fn unpack(body: &[u8]) -> Result<Vec<u8>, Broken> {
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
    let events = match algorithm {
        Some(NONE) => payload.to_vec(),
        Some(ZSTD) => {
            let mut events = Vec::new();
            mysql_common::binlog::events::TransactionPayloadReader::new_zstd(payload)
                .and_then(|mut reader| reader.read_to_end(&mut events))
                .map_err(|_| Broken)?;
            events
        }
        _ => return Err(Broken),
    };
    match expected.is_none_or(|expected| expected == events.len()) {
        true => Ok(events),
        false => Err(Broken),
    }
}

/// The first event of several in a row, and the rest.
pub(super) fn first_of(bytes: &[u8]) -> Result<(&[u8], &[u8]), Broken> {
    let size = bytes.get(9..13).and_then(|size| size.first_chunk());
    let size = u32::from_le_bytes(*size.ok_or(Broken)?);
    let size = usize::try_from(size).map_err(|_| Broken)?;
    if size < HEADER {
        return Err(Broken);
    }
    bytes.split_at_checked(size).ok_or(Broken)
}
