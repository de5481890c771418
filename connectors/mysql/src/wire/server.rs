//! Who is at the other end, and what its errors mean.

use std::fmt;
use std::io;

use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{ErrPacket, HandshakePacket};
use tidegate_core::Error;

/// What the server said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its version as it says it: `8.0.36`, `10.11.19-MariaDB`.
    pub(crate) version: String,
    /// Whether it is a MariaDB.
    pub(crate) mariadb: bool,
    /// Its three numbers.
    pub(crate) numbers: (u16, u16, u16),
    /// What `KILL` takes.
    pub(crate) connection: u32,
}

impl Server {
    pub(super) fn of(handshake: &HandshakePacket<'_>) -> Self {
        let mariadb = handshake.maria_db_server_version_parsed();
        Self {
            version: handshake.server_version_str().into_owned(),
            mariadb: mariadb.is_some(),
            numbers: mariadb
                .or_else(|| handshake.server_version_parsed())
                .unwrap_or_default(),
            connection: handshake.connection_id(),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mariadb {
            true => write!(f, "MariaDB {}", self.version),
            false => write!(f, "MySQL {}", self.version),
        }
    }
}

/// The error that a packet beginning with 0xFF tells.
///
/// Before the login is over, the packet has no SQL state.
pub(super) fn of_packet(doing: &str, payload: &[u8], capabilities: CapabilityFlags) -> Error {
    match ParseBuf(payload).parse::<ErrPacket<'_>>(capabilities) {
        Ok(packet) if packet.is_error() => {
            let error = packet.server_error();
            refused(doing, error.error_code(), &error.message_str())
        }
        _ => Error::data(format!("can't {doing}: the server's error can't be read")),
    }
}

/// What a server's error number means to us.
///
/// The numbers are those of the MySQL and MariaDB manuals ("Server Error Message Reference").
pub(crate) fn refused(doing: &str, code: u16, message: &str) -> Error {
    let sentence = format!("can't {doing}");
    let (error, hint) = match code {
        1044 | 1045 | 1698 | 3118 | 1862 | 1820 => (
            Error::auth(sentence),
            Some("check the user, the password, and the hosts from which the user may connect"),
        ),
        1142 | 1143 | 1227 | 1370 => (
            Error::auth(sentence),
            Some("the user lacks this right: see SHOW GRANTS"),
        ),
        1049 => (
            Error::not_found(sentence),
            Some("check the database in `url`, or `database`"),
        ),
        1146 | 1051 => (Error::not_found(sentence), None),
        1054 | 1064 | 1052 | 1055 | 1060 | 1305 => (Error::config(sentence), None),
        // Too many connections; the server shuts down; deadlock; lock wait; lost; interrupted; gone.
        1040 | 1203 | 1226 => (
            Error::transient(sentence),
            Some("lower the number of connections, or raise the server's limit"),
        ),
        1053 | 1077 | 1205 | 1213 | 1317 | 1927 | 3024 | 4031 | 1152 | 1158..=1161 => {
            (Error::transient(sentence), None)
        }
        1153 => (
            Error::data(sentence),
            Some("raise the server's max_allowed_packet"),
        ),
        _ => (Error::internal(sentence), None),
    };
    let error = error.because(format!("error {code}: {message}"));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// An error of the socket.
pub(super) fn lost(doing: &str, error: io::Error) -> Error {
    let message = format!("can't {doing}: the connection to the server is lost");
    match error.kind() {
        io::ErrorKind::InvalidData => Error::data(message).because(error),
        _ => Error::transient(message).because(error),
    }
}

/// A packet that the protocol doesn't have there.
pub(super) fn strange(doing: &str) -> Error {
    Error::internal(format!(
        "can't {doing}: the server answered with something unknown"
    ))
    .hint("is this a MySQL or MariaDB server, and is nothing else listening on that port?")
}
