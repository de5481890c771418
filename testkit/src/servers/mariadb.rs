//! A private MariaDB.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::place;
use super::process::{Server, installed};

/// Where Debian has it, which is not on everybody's PATH.
const DAEMON: &str = "/usr/sbin/mariadbd";

/// A MariaDB with an empty data directory of its own, its binlog on (rows, whole images, names of
/// columns). `root` comes in without a password.
#[derive(Debug)]
pub struct MariaDb {
    server: Server,
    /// Options beyond the usual ones, for a restart.
    options: Vec<String>,
}

/// Starts one.
///
/// # Panics
///
/// If Debian's `mariadb-server-core` and `mariadb-client-core` aren't installed, or it doesn't start.
pub fn mariadb() -> MariaDb {
    MariaDb::with::<&str>(&[])
}

/// The directory of the plugins that Debian has in packages which would start a service:
/// `--plugin-dir=…`, then `--plugin-load-add=auth_ed25519`.
///
/// # Panics
///
/// If it isn't installed.
pub fn mariadb_plugins() -> PathBuf {
    installed("mariadb/plugin")
}

impl MariaDb {
    /// Starts one with more options for `mariadbd`: `--max-allowed-packet=64M`.
    ///
    /// # Panics
    ///
    /// As [`mariadb`].
    pub fn with<S: AsRef<str>>(options: &[S]) -> Self {
        let options: Vec<_> = options
            .iter()
            .map(|option| option.as_ref().to_owned())
            .collect();
        let server = Server::start_when("mariadb", greets, |port, directory| {
            install(directory);
            daemon(port, directory, &options)
        });
        Self { server, options }
    }

    /// The port on which it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Its address for `url`, with the user `root`: `mysql://root@127.0.0.1:12345/shop`.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port())
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Its directory, for files that are to be gone with it (certificates).
    pub fn directory(&self) -> &Path {
        self.server.directory()
    }

    /// Ends it without a shutdown, and starts it again on the same port and data.
    ///
    /// # Panics
    ///
    /// If it doesn't start.
    pub fn restart(&mut self) {
        let command = daemon(self.port(), self.server.directory(), &self.options);
        self.server
            .restart("mariadb", greets, &command)
            .unwrap_or_else(|error| panic!("MariaDB could not be started again: {error}"));
    }

    /// Runs statements as `root` with MariaDB's own client, and gives what it prints: a line for
    /// each row, values parted by tabs, without names of columns; NULL as `NULL`, line breaks, tabs
    /// and backslashes escaped.
    ///
    /// # Panics
    ///
    /// If the server refuses one of them.
    pub fn sql(&self, statements: &str) -> String {
        self.try_sql(statements)
            .unwrap_or_else(|error| panic!("{error}\nin: {:.500}", statements))
    }

    /// The same; the server's error if it refuses.
    pub fn try_sql(&self, statements: &str) -> Result<String, String> {
        use std::io::Write as _;
        let failed = |error: io::Error| error.to_string();
        let mut client = Command::new("mariadb")
            .args([
                "--no-defaults",
                "--user=root",
                "--protocol=TCP",
                "--host=127.0.0.1",
            ])
            .args(["--skip-ssl", "--batch", "--skip-column-names"])
            .args(["--default-character-set=utf8mb4", "--max-allowed-packet=1G"])
            .arg(format!("--port={}", self.port()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // Its answer may be longer than a pipe holds, so it is read while we write.
        let mut input = client.stdin.take();
        let statements = statements.as_bytes().to_vec();
        let writer = std::thread::spawn(move || {
            if let Some(input) = &mut input {
                let _ = input.write_all(&statements);
            }
        });
        let output = client.wait_with_output().map_err(failed)?;
        let _ = writer.join();
        if output.status.success() {
            return String::from_utf8(output.stdout).map_err(|error| error.to_string());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Gives a server an empty data directory: a copy, because to make one takes as long as to start.
fn install(directory: &Path) {
    let copied = empty().and_then(|empty| {
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(empty).arg(data(directory));
        run(&mut copy)
    });
    if let Err(error) = copied {
        panic!("MariaDB's data directory can't be made: {error}; run `cargo xtask setup`");
    }
}

/// An empty data directory of the installed MariaDB, made by whoever needs it first.
fn empty() -> io::Result<PathBuf> {
    let program = std::fs::metadata(DAEMON)?;
    let built = program.modified()?.duration_since(UNIX_EPOCH);
    let built = built.map_err(io::Error::other)?.as_secs();
    let directory = place::root().join("mariadb");
    let empty = directory.join(format!("empty-{built}-{}", program.len()));
    if empty.exists() {
        return Ok(empty);
    }
    std::fs::create_dir_all(&directory)?;
    let making = TempDir::with_prefix_in("making-", &directory)?;
    let mut install = Command::new("mariadb-install-db");
    install
        .args(["--no-defaults", "--basedir=/usr", "--user=root"])
        .args(["--skip-test-db", "--innodb-log-file-size=8M"])
        .arg("--auth-root-authentication-method=normal")
        .arg(path("--datadir=", &data(making.path())))
        .env("TMPDIR", own_tmp(making.path()));
    run(&mut install)?;
    match std::fs::rename(data(making.path()), &empty) {
        // Somebody else has made one meanwhile.
        Err(_) if empty.exists() => Ok(empty),
        renamed => renamed.map(|()| empty),
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )),
    }
}

fn daemon(port: u16, directory: &Path, options: &[String]) -> Command {
    let mut daemon = Command::new(DAEMON);
    daemon
        .args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1"])
        // As MySQL 8, and MariaDB with Debian's configuration.
        .arg("--character-set-server=utf8mb4")
        .args(["--server-id=1", "--log-bin=binlog", "--binlog-format=ROW"])
        .args(["--binlog-row-metadata=FULL", "--gtid-strict-mode=1"])
        .args(["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=8M"])
        // Durable against a crash of the process, which is all that a test has.
        .args(["--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"])
        .arg(format!("--port={port}"))
        .arg(path("--datadir=", &data(directory)))
        .arg(path("--tmpdir=", &own_tmp(directory)))
        .arg(path("--socket=", &directory.join("socket")))
        .arg(path("--pid-file=", &directory.join("pid")))
        .args(options);
    daemon
}

fn data(directory: &Path) -> PathBuf {
    directory.join("data")
}

/// Each has its own: where one starts, it removes all temporary tables.
fn own_tmp(directory: &Path) -> PathBuf {
    let tmp = directory.join("tmp");
    // If it can't be made, the server says so.
    let _ = std::fs::create_dir_all(&tmp);
    tmp
}

fn path(option: &str, path: &Path) -> std::ffi::OsString {
    [OsStr::new(option), path.as_os_str()].into_iter().collect()
}

/// Whether it greets whoever connects, with anything but an error.
fn greets(port: u16) -> io::Result<bool> {
    let time = Duration::from_secs(5);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut socket = TcpStream::connect_timeout(&address, time)?;
    socket.set_read_timeout(Some(time))?;
    let mut beginning = [0; 5];
    socket.read_exact(&mut beginning)?;
    Ok(beginning[4] == 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_and_keeps_its_data_over_a_restart() {
        let mut server = mariadb();
        server.sql(
            "CREATE DATABASE shop; CREATE TABLE shop.t (a INT); INSERT INTO shop.t VALUES (7)",
        );
        server.restart();
        assert_eq!(server.sql("SELECT a FROM shop.t"), "7\n");
        assert!(
            server
                .try_sql("SELECT nothing")
                .unwrap_err()
                .contains("1054")
        );
    }
}
