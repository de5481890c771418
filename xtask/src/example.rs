//! Running an example's commands against servers on this machine.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::Running;
use crate::program::{Build, Program};
use crate::serve::Servers;
use crate::{place, setup};

/// How long something may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// With which code a run ends that was stopped.
pub(crate) const STOPPED: i32 = 4;

/// The program and the servers of one example.
#[derive(Debug)]
pub(crate) struct Example {
    program: PathBuf,
    servers: Servers,
    environment: BTreeMap<&'static str, String>,
    /// Where commands run.
    here: PathBuf,
    /// The state is in it: the servers are new, so what an earlier run remembers of its files is not
    /// true of them.
    directory: PathBuf,
}

impl Example {
    /// Installs what is needed, builds the program unless there is one and starts the servers; the
    /// arguments are those of testkit's example `serve`.
    pub(crate) fn prepare(name: &str, program: &Program, servers: &[&str]) -> Result<Self> {
        setup::Setup { bench: false }.run()?;
        let program = program.find(Build::Debug)?;
        let servers = Servers::start(servers)?;
        println!("\nThe environment that leads to the servers:");
        for (name, value) in servers.environment() {
            println!("  {name}={value}");
        }
        Ok(Self {
            program,
            servers,
            environment: BTreeMap::new(),
            here: place::workspace().to_path_buf(),
            directory: env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id())),
        })
    }

    /// What a server says of itself.
    pub(crate) fn server(&self, name: &str) -> Result<&str> {
        let value = self.servers.environment().get(name);
        value
            .map(String::as_str)
            .with_context(|| format!("no server says {name}"))
    }

    /// Sets a variable of the pipeline files.
    pub(crate) fn set(&mut self, name: &'static str, value: String) {
        println!("  {name}={value}");
        self.environment.insert(name, value);
    }

    /// A directory of its own, gone with this.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Copies the pipelines of an example, and lets commands run beside the copy: what a pipeline
    /// writes beside its file then goes with this.
    pub(crate) fn copy(&mut self, example: &str) -> Result<()> {
        let (from, to) = (place::workspace(), self.directory.join("copy"));
        let inside = Path::new("examples").join(example);
        fs::create_dir_all(to.join(&inside))?;
        for entry in fs::read_dir(from.join(&inside))? {
            let path = entry?.path();
            let name = path
                .file_name()
                .filter(|_| path.extension() == Some("toml".as_ref()));
            if let Some(name) = name {
                fs::copy(&path, to.join(&inside).join(name))?;
            }
        }
        self.here = to;
        Ok(())
    }

    /// Shows a command of the program and runs it.
    pub(crate) fn tidegate(&self, arguments: &[&str]) -> Result<()> {
        show(arguments);
        let status = self.command(arguments).status();
        let status = status.context("tidegate could not be started")?;
        if !status.success() {
            bail!("tidegate failed ({status})");
        }
        Ok(())
    }

    /// Shows a command of the program and starts it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Started> {
        show(arguments);
        Ok(Started(Running::start(&mut self.command(arguments))?))
    }

    /// Shows a query that gives one number, and asks it until that is what it should be: rows come
    /// when their epoch is committed.
    pub(crate) fn wait_for(&self, query: &str, wanted: u64) -> Result<()> {
        let begun = Instant::now();
        show(&["query", query]);
        loop {
            let found = self.number(query);
            if found.as_ref().ok() == Some(&wanted) {
                println!("{wanted}, as it should be");
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("it gives {}, not {wanted}", found?);
            }
            sleep(Duration::from_millis(300));
        }
    }

    /// Shows a query that gives one number, and checks it.
    pub(crate) fn expect(&self, query: &str, wanted: u64) -> Result<()> {
        show(&["query", query]);
        let found = self.number(query)?;
        ensure!(found == wanted, "it gives {found}, not {wanted}");
        println!("{wanted}, as it should be");
        Ok(())
    }

    /// The only number that a query gives.
    pub(crate) fn number(&self, query: &str) -> Result<u64> {
        let output = self
            .command(&["query", query, "--quiet", "--format", "ndjson"])
            .output()
            .context("tidegate could not be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the query fails: {said}");
        let row: BTreeMap<String, u64> =
            serde_json::from_slice(&output.stdout).context("a query should give one number")?;
        let number = row.into_values().next();
        number.context("a query should give one number")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.here)
            .envs(self.servers.environment())
            .envs(&self.environment)
            .env("TIDEGATE_STATE", self.directory.join("state"));
        command
    }
}

/// Shows a command of the program as one would type it.
fn show(arguments: &[&str]) {
    let words = arguments.iter().map(|word| match word {
        _ if !word.contains([' ', '*']) => (*word).to_owned(),
        _ => format!("\"{}\"", word.replace('"', "\\\"")),
    });
    println!("\n$ tidegate {}", words.collect::<Vec<_>>().join(" "));
}

/// An address at which nobody listens.
pub(crate) fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?.to_string())
}

/// Connects, as soon as somebody listens.
pub(crate) fn connect(address: &str) -> Result<TcpStream> {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) if begun.elapsed() > PATIENCE => {
                return Err(error).context("the pipeline doesn't listen");
            }
            Err(_) => sleep(Duration::from_millis(50)),
        }
    }
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Started(Running);

impl Started {
    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(self) -> Result<()> {
        let status = self.0.stop()?;
        ensure!(status.code() == Some(STOPPED), "tidegate failed ({status})");
        Ok(())
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}
