//! Where a benchmark works, and what lies there afterwards.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::place;
use crate::process::output;

/// Makes an empty folder of it.
pub(super) fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))
}

/// How many rows of Parquet lie in a folder, by a reader that isn't ours.
pub(super) fn parquet_rows(folder: &Path) -> Result<u64> {
    count(
        folder,
        "import pyarrow.dataset as d; print(d.dataset(folder, format='parquet').count_rows())",
    )
}

/// How many lines the files in a folder have.
pub(super) fn lines(folder: &Path) -> Result<u64> {
    count(
        folder,
        "import pathlib; print(sum(1 for f in pathlib.Path(folder).iterdir() for _ in f.open('rb')))",
    )
}

fn count(folder: &Path, code: &str) -> Result<u64> {
    let mut python = Command::new(place::root().join("sql/bin/python"));
    python
        .args(["-c", &format!("import sys; folder = sys.argv[1]; {code}")])
        .arg(folder);
    output(python)?.trim().parse().context("a number of rows")
}
