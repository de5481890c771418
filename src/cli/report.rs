//! The file of `--report`.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate::{Error, Report, Result};

use super::out;

/// What a run leaves behind.
pub(crate) struct Ended {
    pub(crate) code: u8,
    /// None of a run that never began.
    pub(crate) report: Option<Report>,
    /// Each error, as [`errors::reported`](super::errors::reported) tells it.
    pub(crate) errors: Vec<Value>,
}

/// The file, opened before the run: a report of an earlier run never stands for this one.
pub(crate) struct ReportFile {
    path: PathBuf,
    /// `None`: standard output.
    file: Option<File>,
}

impl ReportFile {
    /// Opens it, and lets it say that the run continues; `-` is standard output. Errors: `Config` if
    /// it can't be written.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        if path.as_os_str() == "-" {
            return Ok(Self { path, file: None });
        }
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| refused(&path, error))?;
        // What is no regular file (a pipe, a terminal) takes one document only.
        if file.metadata().is_ok_and(|about| about.is_file()) {
            replace(&mut file, &json!({ "status": "running" }))
                .map_err(|error| refused(&path, error))?;
        }
        let file = Some(file);
        Ok(Self { path, file })
    }

    /// Writes how the run ended.
    pub(crate) fn end(self, ended: &Ended) -> Result<()> {
        let mut value = match &ended.report {
            Some(report) => serde_json::to_value(report)
                .map_err(|error| Error::internal("the report can't be written").because(error))?,
            None => json!({ "status": "failed" }),
        };
        value["exit_code"] = ended.code.into();
        value["errors"] = json!(ended.errors);
        let Some(mut file) = self.file else {
            return out::write(&format!("{value:#}\n"));
        };
        replace(&mut file, &value).map_err(|error| {
            Error::io("the report can't be written", error).with("path", self.path.display())
        })
    }
}

fn refused(path: &Path, error: io::Error) -> Error {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let refused = Error::config("the report can't be written")
        .with("path", path.display())
        .because(error);
    match missing {
        true => refused.hint("make its directory first; nothing was read or written"),
        false => refused.hint("nothing was read or written"),
    }
}

/// Puts a value for all that the file holds.
fn replace(file: &mut File, value: &Value) -> io::Result<()> {
    let text = format!("{value:#}\n");
    if file.metadata()?.is_file() {
        file.rewind()?;
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())?;
    file.flush()
}
