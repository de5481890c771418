//! A MariaDB of the benchmark's own, whose tables are made once.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::super::data::cache;
use crate::process::run_quietly;

/// The table.
const ROWS: &str = include_str!("rows.sql");

/// Ends the server in good order as soon as standard input is closed, also by our death.
const GUARD: &str = r#""$@" & read -r _; kill -TERM $!; wait $!"#;

/// How long the server may take to start: it may have to mend what a killed one left.
const PATIENCE: Duration = Duration::from_secs(60);

/// A table's rows and two sums, as the server itself counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) rows: u64,
    pub(super) ids: u128,
    /// `sum(sales_amt)`, with two places.
    pub(super) amount: String,
    /// What InnoDB keeps of it.
    pub(super) bytes: u64,
}

/// The server, until this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    guard: Child,
    directory: PathBuf,
    pub(super) port: u16,
}

impl Server {
    /// Starts it, with memory for a table of so many rows.
    pub(super) fn start(rows: u64) -> Result<Self> {
        let directory = cache()?.join("mysql");
        let stamp = directory.join(".made-by");
        if !fs::read_to_string(&stamp).is_ok_and(|made_by| made_by == ROWS) {
            if directory.exists() {
                fs::remove_dir_all(&directory)?;
            }
            fs::create_dir_all(&directory)?;
            install(&directory)?;
            fs::write(stamp, ROWS)?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let log = directory.join("log");
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh", "/usr/sbin/mariadbd"])
            .args(options(&directory, port, rows))
            .stdin(Stdio::piped())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .context("MariaDB could not be started")?;
        let server = Self {
            guard,
            directory,
            port,
        };
        let began = Instant::now();
        while server.ask("SELECT 1").is_err() {
            if began.elapsed() > PATIENCE {
                bail!(
                    "MariaDB doesn't answer; is another benchmark running? It said:\n{}",
                    fs::read_to_string(&log).unwrap_or_default()
                );
            }
            sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// The table of so many rows, made if it isn't there, and read once into the server's memory.
    pub(super) fn table(&self, rows: u64) -> Result<Table> {
        let name = format!("rows_{rows}");
        let there = self.ask(&format!(
            "SELECT count(*) FROM information_schema.tables \
             WHERE table_schema = 'bench' AND table_name = '{name}'"
        ))?;
        if there.trim() == "0" {
            println!("making {rows} rows in {} …", self.directory.display());
            let sql = ROWS.replace("{name}", &name);
            self.ask(&sql.replace("{rows}", &rows.to_string()))?;
        }
        let found = self.ask(&format!(
            "SELECT count(*), sum(id), sum(sales_amt), \
                (SELECT data_length FROM information_schema.tables \
                 WHERE table_schema = 'bench' AND table_name = '{name}') \
             FROM bench.{name} FORCE INDEX (PRIMARY)"
        ))?;
        let [counted, ids, amount, bytes] = found.trim().split('\t').collect::<Vec<_>>()[..] else {
            bail!("`{found}` are no counts");
        };
        ensure!(
            counted == rows.to_string(),
            "bench.{name} has {counted} rows; delete {}",
            self.directory.display()
        );
        Ok(Table {
            rows,
            ids: ids.parse()?,
            amount: amount.to_owned(),
            bytes: bytes.parse()?,
            name,
        })
    }

    /// MariaDB's own client, running a statement.
    pub(super) fn client(&self, sql: &str) -> Command {
        let mut client = Command::new("mariadb");
        client
            .args([
                "--no-defaults",
                "--user=root",
                "--host=127.0.0.1",
                "--skip-ssl",
            ])
            .arg(format!("--port={}", self.port))
            .args(["--batch", "--quick", "--skip-column-names"])
            .args(["--default-character-set=utf8mb4", "--execute", sql]);
        client
    }

    /// The processor time that the server has used so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        // Fields 14 and 15, in hundredths of a second; the name before them may hold spaces.
        let pid = fs::read_to_string(self.directory.join("pid"))?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()))?;
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
        let mut next = || {
            times
                .next()
                .context("/proc has no times")?
                .context(stat.clone())
        };
        Ok(Duration::from_millis((next()? + next()?) * 10))
    }

    fn ask(&self, sql: &str) -> Result<String> {
        let mut command = self.client(sql);
        let answer = command.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.status.success(), "MariaDB refused: {said}");
        String::from_utf8(answer.stdout).context("MariaDB answered no text")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn install(directory: &Path) -> Result<()> {
    println!("making a MariaDB in {} …", directory.display());
    run_quietly(
        Command::new("mariadb-install-db")
            .args([
                "--no-defaults",
                "--basedir=/usr",
                "--user=root",
                "--skip-test-db",
            ])
            .arg("--auth-root-authentication-method=normal")
            .arg(path("--datadir=", &directory.join("data"))),
    )
}

/// Everything is kept in memory, and nothing is as durable as it could be: making the rows is not
/// what is measured.
fn options(directory: &Path, port: u16, rows: u64) -> Vec<String> {
    let pool = (rows * 256).max(2 << 30);
    let options = [
        "--no-defaults",
        "--user=root",
        "--bind-address=127.0.0.1",
        "--skip-log-bin",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-log-file-size=512M",
        "--innodb-buffer-pool-dump-at-shutdown=0",
        "--innodb-buffer-pool-load-at-startup=0",
    ];
    let mut options: Vec<_> = options.map(str::to_owned).into();
    options.push(format!("--port={port}"));
    options.push(format!("--innodb-buffer-pool-size={pool}"));
    for (option, name) in [
        ("datadir", "data"),
        ("socket", "socket"),
        ("pid-file", "pid"),
    ] {
        options.push(path(&format!("--{option}="), &directory.join(name)));
    }
    options
}

fn path(option: &str, path: &Path) -> String {
    format!("{option}{}", path.display())
}
