//! DuckDB, Polars, ConnectorX and dlt, from their Python packages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::data::Form;
use crate::place;
use crate::process::output;

/// Another tool that does the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rival {
    DuckDb,
    Polars,
    ConnectorX,
    Dlt,
}

impl Rival {
    /// Those that read files and lakes.
    pub(super) const OF_FILES: [Self; 2] = [Self::DuckDb, Self::Polars];
    /// Those that read MySQL.
    pub(super) const OF_MYSQL: [Self; 3] = [Self::ConnectorX, Self::DuckDb, Self::Dlt];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DuckDb => "duckdb",
            Self::Polars => "polars",
            Self::ConnectorX => "connectorx",
            Self::Dlt => "dlt",
        }
    }
}

/// The scripts that drive them, and the Python that has them.
#[derive(Debug)]
pub(super) struct Rivals {
    python: PathBuf,
    scripts: PathBuf,
}

/// What lies in a directory of Parquet files, by a reader that none of the sides wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) rows: u64,
    /// The sum of all `id`: nothing was lost, nothing came twice.
    pub(super) ids: u128,
    pub(super) bytes: u64,
    pub(super) files: u64,
    pub(super) types: String,
}

impl Rivals {
    /// What `cargo xtask setup --bench` has installed.
    pub(super) fn find() -> Self {
        Self {
            python: place::root().join("rivals/bin/python"),
            scripts: place::workspace().join("xtask/src/bench"),
        }
    }

    /// The versions, in the order of [`Rival::OF_FILES`].
    pub(super) fn versions(&self) -> Result<[String; 2]> {
        let text = output(self.command(&["versions"]))?;
        let (duckdb, polars) = text
            .trim()
            .split_once('\t')
            .context("the rivals told no versions")?;
        Ok([duckdb.to_owned(), polars.to_owned()])
    }

    /// Turns a file into Parquet below `target`.
    pub(super) fn convert(
        &self,
        rival: Rival,
        form: Form,
        source: &Path,
        target: &Path,
        level: u32,
    ) -> Command {
        let mut command = self.command(&[rival.name(), form.name()]);
        command.args([source, target]).arg(level.to_string());
        command
    }

    /// Turns the NDJSON into Parquet below an `s3://` url.
    pub(super) fn upload(&self, rival: Rival, source: &Path, url: &str, level: u32) -> Command {
        let mut command = self.lake_command(&["write", rival.name()]);
        command.arg(source).args([url, &level.to_string()]);
        command
    }

    /// Runs one of the queries of `lake.py` over the Parquet below an `s3://` url; its rows go to a
    /// CSV file.
    pub(super) fn query(&self, rival: Rival, query: &str, url: &str, output: &Path) -> Command {
        let mut command = self.lake_command(&[query, rival.name(), url]);
        command.arg(output);
        command
    }

    /// Counts the Parquet below an `s3://` url.
    pub(super) fn count_uploaded(
        &self,
        url: &str,
        environment: &BTreeMap<String, String>,
    ) -> Result<Count> {
        let mut command = self.lake_command(&["count", url]);
        command.envs(environment);
        parse_count(&output(command)?).with_context(|| format!("{url} could not be counted"))
    }

    /// Deletes what lies below an `s3://` url.
    pub(super) fn clear(&self, url: &str, environment: &BTreeMap<String, String>) -> Result<()> {
        let mut command = self.lake_command(&["clear", url]);
        command.envs(environment);
        output(command).map(drop)
    }

    /// Counts what lies in a directory.
    pub(super) fn count(&self, directory: &Path) -> Result<Count> {
        let mut command = self.command(&["count"]);
        command.arg(directory);
        parse_count(&output(command)?)
            .with_context(|| format!("{} could not be counted", directory.display()))
    }

    /// Runs the script of the benchmark `mysql`.
    pub(super) fn mysql(&self, arguments: &[&str]) -> Command {
        self.script("mysql/mysql.py", arguments)
    }

    fn lake_command(&self, arguments: &[&str]) -> Command {
        self.script("lake.py", arguments)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.script("rivals.py", arguments)
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.scripts.join(name)).args(arguments);
        command
    }
}

/// What the scripts print of Parquet files.
fn parse_count(text: &str) -> Result<Count> {
    let [rows, ids, bytes, files, types] = text.trim_end().split('\t').collect::<Vec<_>>()[..]
    else {
        bail!("`{text}` are no counts");
    };
    ensure!(!types.is_empty(), "there are no columns");
    Ok(Count {
        rows: rows.parse()?,
        ids: ids.parse()?,
        bytes: bytes.parse()?,
        files: files.parse()?,
        types: types.to_owned(),
    })
}
