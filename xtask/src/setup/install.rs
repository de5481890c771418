use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::system;
use crate::process::{answer, run_quietly};

/// The tool that installs Python packages: pip 23 looks for versions that fit for minutes.
const UV: &str = "uv==0.13.8";

/// Packages that are installed together into a directory of their own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Installation {
    /// What it is for; its directory.
    pub(super) name: &'static str,
    /// Where the packages come from.
    pub(super) registry: Registry,
    /// The packages, each with its version.
    pub(super) packages: &'static [&'static str],
}

/// Where packages come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Registry {
    /// npm: into `node_modules`.
    Npm,
    /// PyPI: the directory is a virtual environment.
    Python,
}

impl Installation {
    /// Whether all of it is there and can run.
    pub(super) fn is_complete(&self, root: &Path) -> bool {
        let directory = root.join(self.name);
        let stamped =
            fs::read_to_string(directory.join(STAMP)).is_ok_and(|text| text == self.stamp());
        stamped
            && match self.registry {
                Registry::Npm => system::node().is_some(),
                // It points at the system's Python, which may have gone.
                Registry::Python => {
                    let python = directory.join("bin/python");
                    let runs = answer(&python.to_string_lossy(), &["-c", ""]).is_some();
                    runs && (!self.needs_java() || system::java())
                }
            }
    }

    /// Spark runs on Java, which PyPI doesn't have.
    fn needs_java(&self) -> bool {
        let mut packages = self.packages.iter();
        packages.any(|package| package.starts_with("pyspark=="))
    }

    /// Installs all of it anew.
    pub(super) fn install(&self, root: &Path) -> Result<()> {
        let directory = root.join(self.name);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        match self.registry {
            Registry::Npm => self.install_with_npm(&directory)?,
            Registry::Python => self.install_with_uv(&directory)?,
        }
        // The last thing that is done, so that what was broken off is done again.
        fs::write(directory.join(STAMP), self.stamp()).context("the stamp can't be written")
    }

    fn install_with_npm(&self, directory: &Path) -> Result<()> {
        system::need_node()?;
        run_quietly(
            Command::new("npm")
                .args(["install", "--prefix"])
                .arg(directory)
                .args(["--ignore-scripts", "--no-audit", "--no-fund"])
                .arg("--loglevel=error")
                .args(self.packages),
        )
    }

    fn install_with_uv(&self, directory: &Path) -> Result<()> {
        system::need_python()?;
        if self.needs_java() {
            system::need_java()?;
        }
        run_quietly(Command::new("python3").args(["-m", "venv"]).arg(directory))?;
        let python = directory.join("bin/python");
        run_quietly(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", UV])
                .arg("--disable-pip-version-check"),
        )?;
        run_quietly(
            Command::new(&python)
                .args(["-m", "uv", "pip", "install", "--quiet", "--python"])
                .arg(&python)
                .args(self.packages),
        )?;
        ensure!(python.exists(), "{} has no Python", directory.display());
        Ok(())
    }

    fn stamp(&self) -> String {
        format!("{}\n", self.packages.join("\n"))
    }
}

/// The file that says what a directory holds.
const STAMP: &str = ".installed";
