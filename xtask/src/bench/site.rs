//! Where a benchmark works, and what lies there afterwards.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::place;
use crate::process::output;

/// Makes an empty directory of it.
pub(super) fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory).with_context(|| format!("{} can't be made", directory.display()))
}

/// How many rows of Parquet lie in a directory, by a reader that isn't ours.
pub(super) fn parquet_rows(directory: &Path) -> Result<u64> {
    count(
        directory,
        "import pyarrow.dataset as d; print(d.dataset(directory, format='parquet').count_rows())",
    )
}

/// How many lines the files in a directory have.
pub(super) fn lines(directory: &Path) -> Result<u64> {
    count(
        directory,
        "import pathlib; print(sum(1 for f in pathlib.Path(directory).iterdir() for _ in f.open('rb')))",
    )
}

fn count(directory: &Path, code: &str) -> Result<u64> {
    let mut python = Command::new(place::root().join("sql/bin/python"));
    python
        .args([
            "-c",
            &format!("import sys; directory = sys.argv[1]; {code}"),
        ])
        .arg(directory);
    output(python)?.trim().parse().context("a number of rows")
}
