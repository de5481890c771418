//! `cargo xtask fuzz`: random input, looking for what nobody thought of.
//!
//! Of `values`, the generator, the comparison and DuckDB, pyarrow and polars are Python: `values.py`
//! is where to begin to read. It runs as one process and calls the program for each question. What
//! `bytes` runs is in `fuzz/`, a workspace of its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::process::{cargo, run};
use crate::{place, setup};

mod bytes;

/// Look for wrong answers and crashes with random input
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Bytes(bytes::Bytes),
    Values(Values),
}

/// Random tables through every format, and random SQL through run, query and DuckDB
///
/// What differs is made smaller and kept as a directory with a `repro.sh`.
#[derive(Debug, Args)]
struct Values {
    /// The same seed gives the same cases. Default: another each time
    #[arg(long)]
    seed: Option<u64>,
    /// For how long
    #[arg(long, default_value = "5", conflicts_with = "cases")]
    minutes: f64,
    /// How many cases
    #[arg(long)]
    cases: Option<u64>,
    /// The first case's number, to see one of an earlier run again
    #[arg(long, default_value = "0")]
    first: u64,
    /// The program. Default: a debug build of this workspace
    #[arg(long)]
    program: Option<PathBuf>,
    /// Where what was found is kept
    #[arg(long, value_name = "DIR", default_value = "target/fuzz")]
    keep: PathBuf,
    /// Findings that aren't counted: those that are known, while others are looked for
    #[arg(long, value_name = "REGEX")]
    ignore: Option<String>,
}

impl Fuzz {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.what {
            What::Bytes(bytes) => bytes.run(),
            What::Values(values) => values.run(),
        }
    }
}

impl Values {
    fn run(&self) -> Result<()> {
        setup::Setup { bench: false }.run()?;
        let program = match &self.program {
            Some(program) => program.clone(),
            None => build()?,
        };
        let seed = self.seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(0, |now| now.as_secs())
        });
        println!("\nfuzzing with --seed {seed} …");
        let mut fuzz = Command::new(place::root().join("readers/bin/python"));
        fuzz.arg("-B")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fuzz/values.py"))
            .arg(program)
            .args(["--seed", &seed.to_string()])
            .args(["--first", &self.first.to_string()])
            .arg("--keep")
            .arg(&self.keep);
        if let Some(ignore) = &self.ignore {
            fuzz.arg("--ignore").arg(ignore);
        }
        match self.cases {
            Some(cases) => fuzz.args(["--cases", &cases.to_string()]),
            None => fuzz.args(["--minutes", &self.minutes.to_string()]),
        };
        run(&mut fuzz)
    }
}

/// The program with debug assertions, which find more.
fn build() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--locked", "--package", "tidegate"]))?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Ok(place::workspace().join(target).join("debug/tidegate"))
}
