//! The `tidegate` program that commands run.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::place;
use crate::process::{cargo, run};

/// Which program is run.
#[derive(Debug, Args)]
pub(crate) struct Program {
    /// Use this program instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// How it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    Debug,
    Release,
}

impl Program {
    /// Takes the program that is given, or builds it.
    pub(crate) fn find(&self, build: Build) -> Result<PathBuf> {
        if let Some(program) = &self.program {
            return fs::canonicalize(program)
                .with_context(|| format!("{} isn't there", program.display()));
        }
        println!("\nbuilding tidegate …");
        let mut command = cargo(&["build", "--locked", "--package", "tidegate"]);
        let directory = match build {
            Build::Debug => "debug",
            Build::Release => {
                command.arg("--release");
                "release"
            }
        };
        run(&mut command)?;
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        let target = place::workspace().join(target);
        Ok(target.join(directory).join("tidegate"))
    }
}
