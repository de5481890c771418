use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

use tempfile::TempDir;

use super::place;

/// Ends the whole process group, itself included, as soon as the server has ended or standard
/// input is closed: by [`Server`]'s drop, by a panic, and even by a SIGKILL of the test process.
const GUARD: &str = r#"{ "$@"; kill -KILL 0; } & read -r _; kill -KILL 0"#;

/// How long a server may take until it answers: far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Linux gives out ports from 32768 on.
const PORTS: Range<u16> = 12_000..32_000;

/// A server that runs on a port of 127.0.0.1, in a temporary directory, until this is dropped.
#[derive(Debug)]
pub struct Server {
    port: u16,
    guard: Child,
    directory: TempDir,
}

impl Server {
    /// Starts the command that `command` makes for a free port and an empty directory, and waits
    /// until `GET {ready}` answers with 200.
    ///
    /// # Panics
    ///
    /// If it can't be started, ends, or doesn't answer within a minute; with the server's log.
    pub fn start(name: &str, ready: &str, command: impl FnOnce(u16, &Path) -> Command) -> Self {
        Self::start_when(name, |port| answers(port, ready), command)
    }

    /// The same for a server that speaks something else than HTTP: `ready` says whether it answers.
    pub(super) fn start_when(
        name: &str,
        ready: impl Fn(u16) -> io::Result<bool>,
        command: impl FnOnce(u16, &Path) -> Command,
    ) -> Self {
        Self::try_start(name, ready, command).unwrap_or_else(|error| {
            panic!("the test server `{name}` could not be started: {error}")
        })
    }

    fn try_start(
        name: &str,
        ready: impl Fn(u16) -> io::Result<bool>,
        command: impl FnOnce(u16, &Path) -> Command,
    ) -> io::Result<Self> {
        let directory = TempDir::with_prefix(format!("tidegate-{name}-"))?;
        let port = free_port()?;
        let server = command(port, directory.path());
        let mut server = Self {
            port,
            guard: spawn(name, &server, directory.path())?,
            directory,
        };
        server.wait_until_it_answers(ready)?;
        Ok(server)
    }

    /// Ends it, as a crash of the machine would, and starts `command` on the same port and directory.
    pub(super) fn restart(
        &mut self,
        name: &str,
        ready: impl Fn(u16) -> io::Result<bool>,
        command: &Command,
    ) -> io::Result<()> {
        self.end();
        self.guard = spawn(name, command, self.directory.path())?;
        self.wait_until_it_answers(ready)
    }

    fn end(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The directory that is its own, gone with it.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        let log = fs::read(self.directory.path().join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn wait_until_it_answers(&mut self, ready: impl Fn(u16) -> io::Result<bool>) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.guard.try_wait()?.is_some() {
                let log = self.log();
                return Err(io::Error::other(format!("it ended by itself:\n{log}")));
            }
            match ready(self.port) {
                Ok(true) => return Ok(()),
                answer if Instant::now() > deadline => {
                    let log = self.log();
                    return Err(io::Error::other(format!(
                        "no good answer within {PATIENCE:?} ({answer:?}):\n{log}"
                    )));
                }
                _ => sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a server under the guard; what it prints is appended to its log.
fn spawn(name: &str, server: &Command, directory: &Path) -> io::Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("server.log"))?;
    let mut guard = Command::new("sh");
    guard
        .args(["-c", GUARD, name])
        .arg(server.get_program())
        .args(server.get_args())
        .current_dir(server.get_current_dir().unwrap_or(directory))
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    for (key, value) in server.get_envs() {
        match value {
            Some(value) => guard.env(key, value),
            None => guard.env_remove(key),
        };
    }
    guard.spawn()
}

/// The file `path` of what `cargo xtask setup` installed.
///
/// # Panics
///
/// If it isn't there.
pub(super) fn installed(path: &str) -> std::path::PathBuf {
    let file = place::root().join(path);
    assert!(
        file.exists(),
        "{} is not installed: run `cargo xtask setup`",
        file.display()
    );
    file
}

/// The Python of one of the Python installations (`moto`, `readers`), with its packages.
///
/// # Panics
///
/// If it isn't installed.
pub fn python(installation: &str) -> std::path::PathBuf {
    installed(&format!("{installation}/bin/python"))
}

/// A port on which nobody listens: of those below the range that the kernel takes ports from by
/// itself, so that nobody has taken it by the time the server listens, and one that this process
/// hasn't given out before.
pub(super) fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in PORTS {
        // Processes that run at once begin far from one another.
        let number = std::process::id()
            .wrapping_mul(7919)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let span = u32::from(PORTS.end - PORTS.start);
        let port = u16::try_from(number % span).map_err(io::Error::other)? + PORTS.start;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Whether `GET {path}` gives 200. A port that accepts is not yet a server that answers.
fn answers(port: u16, path: &str) -> io::Result<bool> {
    let time = Duration::from_secs(5);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut socket = TcpStream::connect_timeout(&address, time)?;
    socket.set_read_timeout(Some(time))?;
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.") && answer.get(9..12) == Some(b"200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(port: u16) -> Command {
        let mut command = Command::new("python3");
        let port = port.to_string();
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &port]);
        command
    }

    #[test]
    fn a_server_answers_while_it_is_held_and_is_gone_afterwards() {
        let server = Server::start("web", "/", |port, _| python(port));
        let port = server.port;
        assert!(answers(port, "/").unwrap());
        assert!(!answers(port, "/no-such-file").unwrap());
        assert!(server.log().contains("/no-such-file"));
        drop(server);
        assert!(answers(port, "/").is_err());
    }

    #[test]
    fn a_server_ends_with_the_test_that_panics() {
        let (tell, told) = std::sync::mpsc::channel();
        let test = std::thread::spawn(move || {
            let server = Server::start("web", "/", |port, _| python(port));
            tell.send(server.port).unwrap();
            panic!("a failed test");
        });
        test.join().unwrap_err();
        assert!(answers(told.recv().unwrap(), "/").is_err());
    }

    #[test]
    fn a_server_that_ends_is_an_error_with_its_log() {
        let error = Server::try_start(
            "broken",
            |_| Ok(false),
            |_, _| {
                let mut command = Command::new("sh");
                command.args(["-c", "echo the port is taken >&2; exit 3"]);
                command
            },
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("the port is taken"), "{error}");
    }
}
