//! Where the events that come stand in the log.

use super::bytes::Broken;
use super::event::{self, Checksum, Event, Kind};

/// How far a stream of events is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Track {
    /// The file that we are in.
    pub(super) file: String,
    /// Where the last event ended.
    pub(super) at: u64,
    /// Of the events to come.
    pub(super) checksum: Checksum,
    /// A server that looks for ids begins with the first of their file, and passes over what comes
    /// before them. The first transaction that it sends begins no earlier than here.
    pub(super) floor: u64,
    /// What begins before this byte was asked for only because it stands before what is wanted.
    pub(super) wanted: u64,
}

/// An event, and where it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) event: Event<'a>,
    pub(super) start: u64,
}

impl Track {
    /// A stream that begins at this byte of a file.
    pub(super) fn new(file: &str, at: u64) -> Self {
        Self {
            file: file.to_owned(),
            at,
            checksum: Checksum::None,
            floor: 0,
            wanted: 0,
        }
    }

    /// Takes a packet's event in. `None` at the end of the log.
    pub(super) fn take<'a>(&mut self, packet: &'a [u8]) -> Result<Option<Placed<'a>>, Broken> {
        let Some((0x00, bytes)) = packet.split_first() else {
            return Ok(None);
        };
        let event = Event::parse(bytes, self.checksum)?;
        let mut start = self.at;
        if event.is_real() {
            if event.kind.begins_transaction() {
                self.at = self.at.max(std::mem::take(&mut self.floor));
            }
            self.at = end_of(self.at, event.end);
            start = self.at.saturating_sub(event.size.into());
        }
        match event.kind {
            Kind::FormatDescription => self.checksum = event::checksum_told(event.body)?,
            Kind::Rotate => {
                let (byte, file) = event::rotation(event.body)?;
                // The server also says so at the beginning, about the file that we asked for.
                if file != self.file {
                    self.file = file;
                    (self.floor, self.wanted) = (0, 0);
                }
                self.at = byte;
            }
            _ => {}
        }
        Ok(Some(Placed { event, start }))
    }
}

/// Where an event behind `at` ends. Of that, events tell the lower 32 bits only, while a
/// transaction that is larger makes its file larger.
fn end_of(at: u64, told: u32) -> u64 {
    const TURN: u64 = 1 << 32;
    let end = (at & !(TURN - 1)) | u64::from(told);
    if end > at { end } else { end + TURN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_go_on_behind_4_gib() {
        const GIB: u64 = 1 << 30;
        let of = |at: u64, end: u64| end_of(at, u32::try_from(end & 0xFFFF_FFFF).unwrap());
        for end in [300, 2 * GIB, 4 * GIB - 1, 4 * GIB, 4 * GIB + 1, 9 * GIB] {
            // From right before it, and after a gap.
            assert_eq!(of(end - 50, end), end);
            assert_eq!(of(end.saturating_sub(3 * GIB), end), end);
        }
    }

    fn event(number: u8, end: u64, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(19 + body.len()).unwrap();
        let mut packet = vec![0];
        packet.extend(0_u32.to_le_bytes());
        packet.push(number);
        packet.extend(1_u32.to_le_bytes());
        packet.extend(size.to_le_bytes());
        packet.extend(u32::try_from(end & 0xFFFF_FFFF).unwrap().to_le_bytes());
        packet.extend(0_u16.to_le_bytes());
        packet.extend(body);
        packet
    }

    fn track(at: u64, floor: u64) -> Track {
        Track {
            floor,
            ..Track::new("binlog.000001", at)
        }
    }

    const GTID: u8 = 162;
    const XID: u8 = 16;
    const HEARTBEAT: u8 = 27;

    #[test]
    fn what_a_server_passes_over_is_behind_us() {
        const FAR: u64 = (9 << 30) + 1_000;
        let mut track = track(FAR, FAR);
        let mut rotation = 4_u64.to_le_bytes().to_vec();
        rotation.extend(b"binlog.000001");
        track.take(&event(4, 0, &rotation)).unwrap();
        assert_eq!(track.at, 4);
        // The list of ids at the file's beginning, then what was asked for.
        track.take(&event(163, 300, &[0; 20])).unwrap();
        assert_eq!(track.at, 300);
        let gtid = event(GTID, FAR + 42, &[0; 23]);
        let placed = track.take(&gtid).unwrap();
        assert_eq!((placed.unwrap().start, track.at), (FAR, FAR + 42));
        // Nothing happens: it says so, and where it is.
        track
            .take(&event(HEARTBEAT, FAR + 42, b"binlog.000001"))
            .unwrap();
        assert_eq!(track.at, FAR + 42);
        track.take(&event(XID, FAR + 69, &[0; 8])).unwrap();
        assert_eq!(track.at, FAR + 69);
    }

    #[test]
    fn another_file_begins_anew() {
        let mut track = track(5_000, 7 << 30);
        let mut rotation = 4_u64.to_le_bytes().to_vec();
        rotation.extend(b"binlog.000002");
        track.take(&event(4, 0, &rotation)).unwrap();
        track.take(&event(GTID, 342, &[0; 23])).unwrap();
        assert_eq!((track.file.as_str(), track.at), ("binlog.000002", 342));
        assert_eq!(
            track.take(&[0xFE]).unwrap().map(|placed| placed.start),
            None
        );
    }
}
