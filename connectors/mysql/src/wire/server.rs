//! Who is at the other end, and what its errors mean.

use std::error::Error as _;
use std::fmt;
use std::io;

use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{ErrPacket, HandshakePacket};
use tidegate_core::{Error, printable};

/// What the server said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
        let version = handshake.server_version_str().into_owned();
        let (mariadb, numbers) = numbers(&version);
        Self {
            version,
            mariadb,
            numbers,
            connection: handshake.connection_id(),
        }
    }
}

/// Whether a version is MariaDB's, and its three numbers; zeros if it has none. The library panics over
/// numbers that are too large, or in digits of another script.
fn numbers(version: &str) -> (bool, (u16, u16, u16)) {
    // MariaDB 10 and 11 begin so for old replicas.
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut parts = version.splitn(3, '.');
    let mut whole = || parts.next().and_then(|part| part.parse::<u16>().ok());
    let (first, second) = (whole(), whole());
    let last = parts.next().unwrap_or_default();
    let digits = last.bytes().take_while(u8::is_ascii_digit).count();
    let (third, rest) = last.split_at(digits);
    match (first, second, third.parse().ok()) {
        (Some(first), Some(second), Some(third)) => {
            (rest.starts_with("-MariaDB"), (first, second, third))
        }
        _ => (false, (0, 0, 0)),
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
            let state = error.sql_state_ref().map(|state| state.as_str());
            let cause = ServerError {
                code: error.error_code(),
                state: state.unwrap_or_default().into_owned(),
                // Whatever answers on that port may send 16 MB of it.
                message: printable::cut(&error.message_str(), printable::LONGEST).into_owned(),
            };
            refused(doing, cause)
        }
        _ => Error::data(format!("can't {doing}: the server's error can't be read")),
    }
}

/// An error as the server told it: what an [`Error`] is because of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// Its number, of the manuals' "Server Error Message Reference".
    pub(crate) code: u16,
    /// Its SQL state; empty before the login is over.
    pub(crate) state: String,
    pub(crate) message: String,
}

impl ServerError {
    /// The server's error behind one of ours, if there is one.
    pub(crate) fn of(error: &Error) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    /// The number of that error.
    pub(crate) fn code_of(error: &Error) -> Option<u16> {
        Self::of(error).map(|server| server.code)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, message, .. } = self;
        write!(f, "error {code}: {message}")
    }
}

impl std::error::Error for ServerError {}

/// What a server's error number means to us.
///
/// The numbers are those of the MySQL and MariaDB manuals ("Server Error Message Reference").
pub(crate) fn refused(doing: &str, cause: ServerError) -> Error {
    let sentence = format!("can't {doing}");
    let (error, hint) = match cause.code {
        // Who has no right to a database isn't told whether it exists.
        1044 => (
            Error::auth(sentence),
            Some(
                "check the name of the database, and that the user has a right to it: see SHOW GRANTS",
            ),
        ),
        // Wrong user or password, account locked or its password expired.
        1045 | 1698 | 1820 | 1862 | 3118 | 4151 => (
            Error::auth(sentence),
            Some(
                "check user and password, from which hosts the user may connect, and whether only over TLS",
            ),
        ),
        1130 => (
            Error::auth(sentence),
            Some("let the user connect from this host: see CREATE USER"),
        ),
        // TLS is demanded, by the user's REQUIRE or by require_secure_transport.
        3159 | 4253 => (
            Error::auth(sentence),
            Some("the server wants TLS: set `ssl = \"verify_identity\"` and `ca_file`"),
        ),
        1129 => (
            Error::auth(sentence),
            Some("the server blocks this host after too many failed logins: run FLUSH HOSTS there"),
        ),
        1142 | 1143 | 1227 | 1370 | 1410 => (
            Error::auth(sentence),
            Some("the user lacks this privilege: see SHOW GRANTS"),
        ),
        1049 => (
            Error::not_found(sentence),
            Some("check the database in `url`, or `database`"),
        ),
        1146 | 1051 => (Error::not_found(sentence), None),
        1054 | 1064 | 1052 | 1055 | 1060 | 1305 => (Error::config(sentence), None),
        // Too many connections, of all or of this user.
        1040 | 1203 | 1226 => (
            Error::transient(sentence),
            Some("lower the number of connections, or raise the server's limit"),
        ),
        // A write to a replica, perhaps for a moment after a failover.
        1290 | 1836
            if cause.message.contains("read-only") || cause.message.contains("read only") =>
        {
            (
                Error::transient(sentence),
                Some("the server takes no writes: connect to the primary"),
            )
        }
        // Shutdown, lock wait, deadlock, interrupted, killed, too long, lost.
        1053
        | 1077
        | 1152
        | 1158..=1161
        | 1205
        | 1213
        | 1317
        | 1927
        | 1969
        | 3024
        | 3169
        | 4031 => (Error::transient(sentence), None),
        // Its disk is full.
        1021 | 1114 => (
            Error::internal(sentence),
            Some("the server has no space left: free some, then run the same command again"),
        ),
        1153 => (
            Error::data(sentence),
            Some("raise the server's max_allowed_packet"),
        ),
        _ => (Error::internal(sentence), None),
    };
    let error = error.because(cause);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// An error of the socket.
pub(super) fn lost(doing: &str, error: io::Error) -> Error {
    let message = format!("can't {doing}: the connection to the server is lost");
    let lost = Error::transient(message);
    let lost = match error.kind() {
        io::ErrorKind::TimedOut => lost.hint("if the server was only busy, raise `read_timeout`"),
        _ => lost,
    };
    lost.because(error)
}

/// A packet that the protocol doesn't have there.
pub(super) fn strange(doing: &str) -> Error {
    Error::internal(format!(
        "can't {doing}: the server answered with something unknown"
    ))
    .hint("is this a MySQL or MariaDB server, and is nothing else listening on that port?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_three_numbers_whatever_it_is() {
        for (version, found) in [
            ("8.0.36", (false, (8, 0, 36))),
            ("8.4.7-0ubuntu0.22.04.1", (false, (8, 4, 7))),
            ("10.11.19-MariaDB-log", (true, (10, 11, 19))),
            ("5.5.5-10.6.2-MariaDB", (true, (10, 6, 2))),
            ("8.0.mysql_aurora.3.05.2", (false, (0, 0, 0))),
            ("99999.0.1", (false, (0, 0, 0))),
            ("8.0.\u{7c3}72", (false, (0, 0, 0))),
            ("", (false, (0, 0, 0))),
            ("5.5.5-", (false, (0, 0, 0))),
        ] {
            assert_eq!(numbers(version), found, "{version}");
        }
    }

    #[test]
    fn a_message_of_sixteen_megabytes_is_cut() {
        let mut packet = b"\xff\x57\x04#HY000".to_vec();
        packet.resize(16 << 20, b'x');
        let error = of_packet("read", &packet, CapabilityFlags::CLIENT_PROTOCOL_41);
        let told = ServerError::of(&error).map(|server| (server.code, server.message.as_str()));
        let want = format!("{}… (16776207 more characters)", "x".repeat(1_000));
        assert_eq!(told, Some((1111, want.as_str())));
    }
}
