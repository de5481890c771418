//! What a server must offer so that it can be followed, and how it is asked for its binary log.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_core::{Error, ErrorKind, Result};

use super::event::Checksum;
use super::gtid::Gtids;
use super::position::{BinlogOffset, BinlogPosition, Noted};
use super::track::Track;
use crate::connect::Connector;
use crate::sql;
use crate::wire::{Connection, Server, ServerError};

const COM_BINLOG_DUMP: u8 = 0x12;
const COM_BINLOG_DUMP_GTID: u8 = 0x1E;

/// Where the first event of a file stands.
const FIRST: u32 = 4;
/// In the flags of both: end at the end of the log.
const NON_BLOCK: u16 = 1;
/// In the flags of COM_BINLOG_DUMP_GTID: begin by the set of ids, not by the position.
const BY_GTID: u16 = 4;
/// The server's number for "what you ask for isn't there, or can't be sent".
const FATAL_READING: u16 = 1236;

/// How often the server says something when nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Checks that the server can be followed, and that we may do so.
///
/// Errors: `Config` for the server's settings, `Auth` for missing permissions.
pub(crate) async fn check(connector: &Connector) -> Result<()> {
    let mut connection = connector.connect().await?;
    let settings = settings(&mut connection).await?;
    let has = |name: &str, wanted: &str| {
        settings
            .get(name)
            .is_none_or(|value| value.eq_ignore_ascii_case(wanted))
    };
    let refuse = |name: &str, hint: &str| {
        let value = settings.get(name).map_or("unknown", String::as_str);
        Err(Error::config("the server can't be followed")
            .with("setting", format!("{name} = {value}"))
            .hint(hint))
    };
    if !has("log_bin", "ON") && !has("log_bin", "1") {
        return refuse(
            "log_bin",
            "the server keeps no binary log: start it with log_bin; on Amazon RDS, turn on \
             automated backups",
        );
    }
    if !has("binlog_format", "ROW") {
        return refuse(
            "binlog_format",
            "set binlog_format = ROW, on Amazon RDS in the parameter group",
        );
    }
    if !has("binlog_row_image", "FULL") {
        return refuse(
            "binlog_row_image",
            "set binlog_row_image = FULL, or deletes and updates lack columns",
        );
    }
    if !has("binlog_row_value_options", "") {
        return refuse(
            "binlog_row_value_options",
            "set binlog_row_value_options = '', or updates of JSON hold only differences",
        );
    }
    let (file, byte, _) = status(&mut connection).await?;
    // Whether we may read it is seen by reading its end: permissions come by roles and in many ways.
    // Number 0 is nobody's, so no other reader is cut off.
    let body = dump_body(&file, u32::try_from(byte).unwrap_or(FIRST), NON_BLOCK, 0);
    connection.command(READING, COM_BINLOG_DUMP, &body).await?;
    match connection.packet(READING).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Auth => Err(error.hint(
            "GRANT REPLICATION SLAVE ON *.* TO the user (on MariaDB also called REPLICATION \
             REPLICA)",
        )),
        Err(error) => Err(purged(error)),
    }
}

/// What is being done, for errors.
pub(super) const READING: &str = "read the binary log";

/// An event is longer, once it is unpacked, than it may be.
pub(super) fn too_long(size: usize, most: usize) -> Error {
    Error::data(format!(
        "can't {READING}: an event unpacks to more than `max_row` allows"
    ))
    .with("size", format!("{size} bytes"))
    .with("limit", format!("{most} bytes"))
    .hint("if so much is to be read, raise `max_row`, up to \"1 GiB\"")
}

async fn settings(connection: &mut Connection) -> Result<HashMap<String, String>> {
    let rows = connection
        .query(
            "read the server's settings",
            "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', \
             'binlog_row_image', 'binlog_row_value_options', 'binlog_row_metadata', 'gtid_mode')",
        )
        .await?;
    let pairs = rows.into_iter().filter_map(|row| {
        let mut cells = row.into_iter();
        Some((cells.next()??.to_ascii_lowercase(), cells.next()??))
    });
    Ok(pairs.collect())
}

/// File, byte and, from MySQL, the ids of what was committed.
pub(super) async fn status(connection: &mut Connection) -> Result<(String, u64, Option<String>)> {
    let server = connection.server();
    let statement = match !server.mariadb && server.numbers >= (8, 2, 0) {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let doing = "ask where the binary log is";
    let rows = connection.query(doing, statement).await;
    let rows = rows.map_err(|error| match error.kind() {
        ErrorKind::Auth => error.hint(
            "GRANT REPLICATION CLIENT ON *.* TO the user (on MariaDB also called BINLOG MONITOR)",
        ),
        _ => error,
    })?;
    let row = rows.into_iter().next().ok_or_else(|| {
        Error::config("the server keeps no binary log").hint("start it with log_bin")
    })?;
    let mut cells = row.into_iter();
    let file = cells.next().flatten();
    let byte = cells.next().flatten().and_then(|byte| byte.parse().ok());
    let gtids = cells.nth(2).flatten();
    match (file, byte) {
        (Some(file), Some(byte)) => Ok((file, byte, gtids)),
        _ => Err(strange()),
    }
}

fn strange() -> Error {
    Error::internal("the server says something strange of its binary log")
}

/// Who the server is: where its files and positions mean something.
async fn identity(connection: &mut Connection) -> Result<String> {
    let sql = match connection.server().mariadb {
        true => "SELECT @@server_id",
        false => "SELECT @@server_uuid",
    };
    let identity = connection.value("ask which server this is", sql).await?;
    identity.ok_or_else(strange)
}

/// Notes where the log is, such that whatever is read from the tables from now on holds every
/// transaction before it.
///
/// A transaction stands in the log a moment before others see it. MariaDB has a snapshot that is
/// exactly at a position. MySQL counts a transaction among its GTIDs only when it can be seen, and
/// begins a file only when all of the one before can be seen; so there we begin after the GTIDs, and
/// rows of the snapshot sort at the beginning of the file. Without GTIDs we only wait a moment.
pub(crate) async fn note(connector: &Connector) -> Result<Noted> {
    let mut connection = connector.connect().await?;
    let server = identity(&mut connection).await?;
    let mariadb = connection.server().mariadb;
    let position = match mariadb {
        true => note_mariadb(&mut connection, server).await?,
        false => note_mysql(&mut connection, server).await?,
    };
    let time = connection.value(
        "ask the server's clock",
        "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
    );
    let time = time.await?.and_then(|time| time.parse().ok());
    Ok(Noted {
        position,
        time: time.ok_or_else(strange)?,
    })
}

async fn note_mariadb(connection: &mut Connection, server: String) -> Result<BinlogPosition> {
    let doing = "note where the binary log is";
    let begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
    connection.run(doing, begin).await?;
    let (file, byte) = snapshot_position(connection, doing).await?;
    connection.run(doing, "COMMIT").await?;
    let sql = format!("SELECT BINLOG_GTID_POS({}, {byte})", sql::text(&file));
    let gtids = connection.value(doing, &sql).await?;
    Ok(BinlogPosition {
        file,
        byte,
        gtids: gtids.filter(|gtids| !gtids.is_empty()),
        server,
        generation: 0,
    })
}

/// The position of the snapshot that we are in, which is the same as long as we are.
///
/// The server gathers the answer in memory that all sessions share (`set_status_variables` in its
/// log.cc), so one of two that ask at the same moment may get a file of its own with the byte of the
/// other. Answers that agree aren't torn: the other would have had to come in between at the same
/// place of each.
async fn snapshot_position(connection: &mut Connection, doing: &str) -> Result<(String, u64)> {
    const AGREE: u32 = 3;
    const MOST: u32 = 100;

    let (mut last, mut agreed) = (None, 0);
    for _ in 0..MOST {
        let rows = connection
            .query(doing, "SHOW STATUS LIKE 'binlog_snapshot_%'")
            .await?;
        let value = |name: &str| {
            rows.iter().find_map(|row| match row.as_slice() {
                [Some(key), Some(value), ..] if key.eq_ignore_ascii_case(name) => {
                    Some(value.clone())
                }
                _ => None,
            })
        };
        let file = value("Binlog_snapshot_file").filter(|file| !file.is_empty());
        let byte = value("Binlog_snapshot_position").and_then(|byte| byte.parse().ok());
        let position = file.zip(byte).ok_or_else(strange)?;
        agreed = if last.as_ref() == Some(&position) {
            agreed + 1
        } else {
            1
        };
        if agreed == AGREE {
            return Ok(position);
        }
        last = Some(position);
    }
    Err(Error::transient(
        "the server gives its binary log's position differently each time",
    ))
}

async fn note_mysql(connection: &mut Connection, server: String) -> Result<BinlogPosition> {
    let settings = settings(connection).await?;
    let (file, byte, gtids) = status(connection).await?;
    let on = settings.get("gtid_mode").is_some_and(|mode| mode == "ON");
    let gtids = gtids.filter(|gtids| on && Gtids::parse(gtids, false).is_ok());
    if gtids.is_none() {
        tracing::info!("the server has no GTIDs: waiting until what is in its log can be seen");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(BinlogPosition {
        file,
        byte: if gtids.is_some() { 0 } else { byte },
        gtids: gtids.map(|gtids| gtids.replace('\n', "")),
        server,
        generation: 0,
    })
}

/// A connection on which events come.
#[derive(Debug)]
pub(super) struct Dump {
    pub(super) connection: Connection,
    pub(super) track: Track,
    /// From where the events come: as asked for, or on another server.
    pub(super) position: BinlogPosition,
    /// How long the server may say nothing.
    pub(super) silence: Duration,
}

/// How far events are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// For ever.
    Future,
    /// Up to the end of the log as it is by now.
    Present,
}

/// Asks for the events from `offset` on.
///
/// Errors: `NotFound` if the server no longer has them, `Conflict` if it is another server and there
/// are no ids by which it could find the place.
pub(super) async fn dump(
    connector: &Connector,
    offset: &BinlogOffset,
    our_id: u32,
    reach: Reach,
) -> Result<Dump> {
    let mut connection = connector.connect().await?;
    let server = connection.server().clone();
    let mut position = offset.position.clone();
    let identity = identity(&mut connection).await?;
    let moved = identity != position.server;
    let gtids = position
        .gtids
        .as_deref()
        .and_then(|gtids| Gtids::parse(gtids, server.mariadb).ok())
        .filter(|gtids| !gtids.is_empty());
    if moved {
        if gtids.is_none() {
            return Err(Error::conflict("this is another server than before")
                .with("server", identity)
                .with("before", &position.server)
                .hint(
                    "its binary log can't be found by file and position; with GTIDs it could. \
                     Connect to the server of before, or start over with --restart",
                ));
        }
        tracing::info!(
            from = position.server,
            to = identity,
            "following another server"
        );
        position.server = identity;
        position.generation += 1;
        position.byte = 0;
    }
    let patience = connector.read_timeout();
    let heartbeat = HEARTBEAT.min(patience / 3);
    prepare(&mut connection, &server, heartbeat).await?;
    let checksum = connection.value(READING, "SELECT UPPER(@master_binlog_checksum)");
    let checksum = match checksum.await?.as_deref() {
        Some("CRC32") => Checksum::Crc32,
        _ => Checksum::None,
    };
    let flags = match reach {
        Reach::Future => 0,
        Reach::Present => NON_BLOCK,
    };
    let mut track = Track {
        checksum,
        ..Track::new(&position.file, FIRST.into())
    };
    match gtids {
        // The byte may be wrong by 4 GiB where a server passed over events (see `Track`), and the
        // ids never are.
        Some(gtids) if !server.mariadb => {
            track.floor = position.byte;
            let set = gtids.encoded();
            let mut body = (BY_GTID | flags).to_le_bytes().to_vec();
            body.extend_from_slice(&our_id.to_le_bytes());
            body.extend_from_slice(&0_u32.to_le_bytes());
            body.extend_from_slice(&u64::from(FIRST).to_le_bytes());
            let length = u32::try_from(set.len()).map_err(|_| strange())?;
            body.extend_from_slice(&length.to_le_bytes());
            body.extend_from_slice(&set);
            connection
                .command(READING, COM_BINLOG_DUMP_GTID, &body)
                .await?;
        }
        Some(gtids) => {
            track.floor = position.byte;
            let set = format!(
                "SET @slave_connect_state = {}, @slave_gtid_strict_mode = 1, \
                 @slave_gtid_ignore_duplicates = 0",
                sql::text(&gtids.to_string())
            );
            connection.run(READING, &set).await?;
            let body = dump_body("", FIRST, flags, our_id);
            connection.command(READING, COM_BINLOG_DUMP, &body).await?;
        }
        None => {
            // The command has 32 bits for it. What lies further on is found by reading up to it.
            let byte = u32::try_from(position.byte).unwrap_or(FIRST).max(FIRST);
            track.at = byte.into();
            track.wanted = position.byte;
            let body = dump_body(&position.file, byte, flags, our_id);
            connection.command(READING, COM_BINLOG_DUMP, &body).await?;
        }
    }
    Ok(Dump {
        connection,
        track,
        position,
        silence: (heartbeat * 6).max(Duration::from_secs(1)).min(patience),
    })
}

/// Says to the server what we understand. Names of variables are those of servers old and new.
async fn prepare(connection: &mut Connection, server: &Server, heartbeat: Duration) -> Result<()> {
    let nanos = heartbeat.as_nanos();
    let more = match server.mariadb {
        // 4: GTIDs, and no made-up events in their place.
        true => ", @mariadb_slave_capability = 4",
        false => ", @source_binlog_checksum = @@GLOBAL.binlog_checksum",
    };
    let set = format!(
        "SET @master_binlog_checksum = @@GLOBAL.binlog_checksum, \
         @master_heartbeat_period = {nanos}, @source_heartbeat_period = {nanos}{more}"
    );
    connection.run(READING, &set).await
}

fn dump_body(file: &str, byte: u32, flags: u16, our_id: u32) -> Vec<u8> {
    let mut body = byte.to_le_bytes().to_vec();
    body.extend_from_slice(&flags.to_le_bytes());
    body.extend_from_slice(&our_id.to_le_bytes());
    body.extend_from_slice(file.as_bytes());
    body
}

/// What the server's refusal to send events means.
pub(super) fn purged(error: Error) -> Error {
    let Some(cause) = ServerError::of(&error).cloned() else {
        return error;
    };
    if cause.code != FATAL_READING {
        return error;
    }
    let says = |text: &str| cause.message.contains(text);
    let told = if says("max_allowed_packet") {
        Error::data("an event is larger than the server sends")
            .hint("raise the server's max_allowed_packet")
    } else if says("same server_") || says("same server-") {
        Error::conflict("another reader of the binary log has our number")
            .hint("give each pipeline that follows this server a `server_id` of its own")
    } else {
        Error::not_found("the server no longer has the binary log where we left off").hint(
            "start over with --restart; to keep the log for longer, raise \
             binlog_expire_logs_seconds (expire_logs_days), on Amazon RDS by `CALL \
             mysql.rds_set_configuration('binlog retention hours', 24)`",
        )
    };
    told.because(cause)
}
