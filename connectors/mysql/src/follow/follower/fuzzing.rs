//! Events without a server: what `crate::fuzzing` gives to the targets in `fuzz/`.

use std::sync::Arc;

use tidegate_core::{Event as Told, Result, Rows, Scan};

use super::Follower;
use crate::connect::Connector;
use crate::discover::{Key, Table};
use crate::follow::event::Checksum;
use crate::follow::followed::{Around, Followed, Following};
use crate::follow::map::{self, TableMap};
use crate::follow::position::{BinlogOffset, BinlogPosition, Noted};
use crate::follow::shape;
use crate::follow::track::Track;
use crate::types::Mapping;

/// The number of a map's event.
const TABLE_MAP: u8 = 19;

/// The length of an event's header.
const HEADER: usize = 19;

/// An event as the log holds it, but for what follows from where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Logged<'a> {
    /// What kind of event it is.
    pub number: u8,
    /// In its header.
    pub flags: u16,
    /// What follows the header, without a checksum.
    pub body: &'a [u8],
}

/// See `crate::fuzzing::binlog`. The table is `d.t`, and has the columns that the last map of it says.
pub(crate) async fn binlog(logged: &[Logged<'_>], mariadb: bool) -> Result<usize> {
    let around = Around {
        connector: Connector::nowhere()?,
        mapping: Mapping::default(),
        batch: 1 << 10,
        server_id: 1,
        metrics: Arc::default(),
    };
    let table = Table {
        database: "d".to_owned(),
        name: "t".to_owned(),
        columns: Vec::new(),
        key: None,
        rows: None,
        bytes: None,
        engine: Some("InnoDB".to_owned()),
    };
    let position = BinlogPosition {
        file: "b.000001".to_owned(),
        byte: 4,
        gtids: None,
        server: "1".to_owned(),
        generation: 0,
    };
    let following = Following {
        noted: Noted {
            position: position.clone(),
            time: 0,
        },
        tables: vec![Followed {
            stream: "t".into(),
            table,
            columns: None,
        }],
    };
    let offset = BinlogOffset::new(position.clone());
    let mut follower = Follower::new(around, following, &[Scan::all("t")], offset)?;
    follower.mariadb = mariadb;
    let track = Track::new(&position.file, position.byte);
    follower.transactions.connected(position, track, mariadb);
    let (mut end, mut rows) = (4, 0);
    for logged in logged {
        if logged.number == TABLE_MAP {
            define(&mut follower, logged.body);
        }
        let packet = packet(logged, follower.transactions.track.checksum, &mut end);
        follower.take(&packet).await?;
        follower.flush()?;
        for told in std::mem::take(&mut follower.out) {
            if let Told::Rows {
                rows: Rows::Encoded(encoded),
                ..
            } = told
            {
                let decoded = encoded.decode()?;
                let batches = decoded.batches.iter();
                rows += batches.map(|batch| batch.num_rows()).sum::<usize>();
                rows += decoded.rejected.rows.len();
            }
        }
    }
    Ok(rows)
}

/// Has the table be what a map says that it is: there is no server to be asked.
fn define(follower: &mut Follower, body: &[u8]) {
    let Ok(map) = TableMap::parse(body, follower.mariadb) else {
        return;
    };
    let is_ours = map::names(body).is_ok_and(|names| names == ("d", "t"));
    let tracked = &mut follower.tables[0];
    let plain = Table {
        key: None,
        ..tracked.table.clone()
    };
    if let (true, Ok(mut table)) = (is_ours, shape::compose(&map, &[&plain])) {
        table.key = (!table.columns.is_empty()).then(|| Key {
            index: "PRIMARY".to_owned(),
            columns: vec![0],
        });
        tracked.table = table;
        tracked.stale = false;
    }
}

fn packet(logged: &Logged<'_>, checksum: Checksum, end: &mut u32) -> Vec<u8> {
    let sum = if checksum == Checksum::Crc32 { 4 } else { 0 };
    let size = u32::try_from(HEADER + logged.body.len() + sum).unwrap_or(u32::MAX);
    *end = end.wrapping_add(size);
    let mut packet = vec![0];
    packet.extend(1_600_000_000_u32.to_le_bytes());
    packet.push(logged.number);
    packet.extend(1_u32.to_le_bytes());
    packet.extend(size.to_le_bytes());
    packet.extend(end.to_le_bytes());
    packet.extend(logged.flags.to_le_bytes());
    packet.extend(logged.body);
    if checksum == Checksum::Crc32 {
        let mut crc = flate2::Crc::new();
        crc.update(&packet[1..]);
        packet.extend(crc.sum().to_le_bytes());
    }
    packet
}
