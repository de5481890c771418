//! Running an example's commands against servers on this machine.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, Result, bail};

use crate::process::{cargo, run};
use crate::serve::Servers;
use crate::{place, setup};

/// The program and the servers of one example.
#[derive(Debug)]
pub(crate) struct Example {
    servers: Servers,
    environment: BTreeMap<&'static str, String>,
    /// The servers are new, so what an earlier run remembers of its files is not true of them.
    state: PathBuf,
}

impl Example {
    /// Installs what is needed, builds the program and starts the servers; the arguments are those
    /// of testkit's example `serve`.
    pub(crate) fn prepare(name: &str, servers: &[&str]) -> Result<Self> {
        setup::Setup { bench: false }.run()?;
        println!("\nbuilding tidegate …");
        run(&mut cargo(&["build", "--locked", "--package", "tidegate"]))?;
        let servers = Servers::start(servers)?;
        println!("\nThe environment that leads to the servers:");
        for (name, value) in servers.environment() {
            println!("  {name}={value}");
        }
        Ok(Self {
            servers,
            environment: BTreeMap::new(),
            state: env::temp_dir().join(format!("tidegate-{name}-{}", std::process::id())),
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

    /// A folder of its own, gone with this.
    pub(crate) fn folder(&self) -> &Path {
        &self.state
    }

    /// Shows a command of the program and runs it.
    pub(crate) fn tidegate(&self, arguments: &[&str]) -> Result<()> {
        let status = self.command(arguments).status();
        let status = status.context("tidegate could not be started")?;
        if !status.success() {
            bail!("tidegate failed ({status})");
        }
        Ok(())
    }

    /// Shows a command of the program and starts it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Started> {
        let child = self.command(arguments).spawn();
        Ok(Started(child.context("tidegate could not be started")?))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let program = place::workspace().join(target).join("debug/tidegate");
        let words = arguments.iter().map(|word| match word.contains(' ') {
            true => format!("\"{word}\""),
            false => (*word).to_owned(),
        });
        println!("\n$ tidegate {}", words.collect::<Vec<_>>().join(" "));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(place::workspace())
            .envs(self.servers.environment())
            .envs(&self.environment)
            .env("TIDEGATE_STATE", &self.state);
        command
    }
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Started(Child);

impl Started {
    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let id = self.0.id().to_string();
        run(Command::new("kill").args(["-TERM", &id]))?;
        self.0.wait().context("tidegate doesn't end")?;
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.state));
    }
}
