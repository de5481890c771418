//! The program, built and asked.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::process::cargo;

/// The program `tidegate`, as it is now.
pub(crate) struct Program(PathBuf);

/// A line of `tidegate list --json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry {
    #[serde(rename = "type")]
    pub(crate) tag: String,
    pub(crate) kind: String,
    pub(crate) package: String,
    pub(crate) summary: String,
}

impl Program {
    /// Builds it, and finds where cargo has put it.
    ///
    /// It is built as the tests build it: another choice of packages would mean other features of
    /// shared dependencies, and minutes to compile them once more.
    pub(crate) fn build() -> Result<Self> {
        let output = cargo(&["test", "--workspace", "--no-run"])
            .arg("--message-format=json-render-diagnostics")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cargo could not be started")?;
        if !output.status.success() {
            bail!("the program could not be built");
        }
        String::from_utf8(output.stdout)?
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["target"]["kind"][0] == "bin")
            .filter(|message| message["target"]["name"] == "tidegate")
            .filter(|message| message["profile"]["test"] == false)
            .find_map(|message| message["executable"].as_str().map(|path| Self(path.into())))
            .context("cargo built no program")
    }

    /// What it prints. Nothing of this machine (its environment, its terminal's width) shows.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.0);
        command
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        for (name, _) in env::vars_os() {
            let shows = ["TIDEGATE_", "COLUMNS", "CLICOLOR", "NO_COLOR"];
            if name
                .to_str()
                .is_some_and(|name| shows.iter().any(|start| name.starts_with(start)))
            {
                command.env_remove(name);
            }
        }
        let output = command
            .output()
            .context("the program could not be started")?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("`tidegate {}` failed: {error}", args.join(" "));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The components.
    pub(crate) fn components(&self) -> Result<Vec<Entry>> {
        Ok(serde_json::from_str(&self.ask(&["list", "--json"])?)?)
    }

    /// The JSON Schema of a component's own keys.
    pub(crate) fn schema(&self, entry: &Entry) -> Result<Value> {
        Ok(serde_json::from_str(&self.ask(&[
            "describe",
            &entry.tag,
            &entry.kind,
            "--json",
        ])?)?)
    }
}
