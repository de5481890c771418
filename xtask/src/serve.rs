//! The test servers, for as long as something here needs them.
//!
//! testkit starts them; it is run, not linked, so that `cargo xtask setup` need not compile it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result};

use crate::process::cargo;

/// Servers that run until this is dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    process: Child,
    environment: BTreeMap<String, String>,
}

impl Servers {
    /// Starts them; the arguments are those of testkit's example `serve`.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = cargo(&[
            "run",
            "--quiet",
            "--locked",
            "--package",
            "tidegate-testkit",
        ]);
        command.args(["--example", "serve", "--"]).args(arguments);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the test servers could not be started")?;
        let output = process.stdout.take().context("a process without output")?;
        let mut servers = Self {
            process,
            environment: BTreeMap::new(),
        };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        servers.environment =
            serde_json::from_str(&line).context("the test servers could not be started")?;
        Ok(servers)
    }

    /// The environment with which all that speak AWS's protocols reach them.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
