//! The rows that all sides read: made once by Tidegate itself, the same on every machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::site::empty;
use super::tidegate::Tidegate;
use crate::place;

/// The pipeline that makes them.
const PIPELINE: &str = include_str!("data.toml");

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Ndjson,
    Csv,
    /// NDJSON in one member of gzip, which only one thread can take apart.
    Gzip,
}

impl Form {
    pub(super) const ALL: [Self; 3] = [Self::Ndjson, Self::Csv, Self::Gzip];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Gzip => "ndjson.gz",
        }
    }
}

/// The files of one size.
#[derive(Debug)]
pub(super) struct Data {
    directory: PathBuf,
    pub(super) rows: u64,
}

impl Data {
    /// The files, made if they aren't there.
    pub(super) fn prepare(tidegate: &Tidegate, rows: u64) -> Result<Self> {
        let directory = cache()?.join(format!("rows-{rows}"));
        let data = Self { directory, rows };
        let stamp = data.directory.join(".made-by");
        if fs::read_to_string(&stamp).is_ok_and(|made_by| made_by == PIPELINE) {
            return Ok(data);
        }
        println!("making the data in {} …", data.directory.display());
        empty(&data.directory)?;
        let pipeline = data.directory.join("data.toml");
        fs::write(&pipeline, PIPELINE)?;
        // One worker: the rows come in their order, so that the file is always the same.
        let mut command = tidegate.run(&pipeline, &data.directory.join(".state"));
        command.args(["--workers", "1", "--set"]);
        command.arg(format!("sources.rows.rows={rows}"));
        crate::process::run(&mut command)?;
        gzip(&data.path(Form::Ndjson), &data.path(Form::Gzip))?;
        // The last thing that is done, so that what was broken off is done again.
        fs::write(stamp, PIPELINE)?;
        Ok(data)
    }

    pub(super) fn path(&self, form: Form) -> PathBuf {
        self.directory.join(format!("rows.{}", form.name()))
    }

    pub(super) fn bytes(&self, form: Form) -> Result<u64> {
        Ok(fs::metadata(self.path(form))?.len())
    }

    /// Reads a file once, so that no side has to wait for the disk.
    pub(super) fn warm(&self, form: Form) -> Result<()> {
        std::io::copy(&mut File::open(self.path(form))?, &mut std::io::sink())?;
        Ok(())
    }
}

/// Where data and results lie, outside the clone.
pub(super) fn cache() -> Result<PathBuf> {
    let directory = place::cache().context("there is no home directory to keep the data in")?;
    Ok(directory.join("bench"))
}

fn gzip(plain: &Path, packed: &Path) -> Result<()> {
    let status = Command::new("gzip")
        .arg("--stdout")
        .stdin(File::open(plain)?)
        .stdout(File::create(packed)?)
        .stderr(Stdio::inherit())
        .status()
        .context("`gzip` could not be started")?;
    ensure!(status.success(), "`gzip` failed ({status})");
    Ok(())
}
