//! `cargo xtask fuzz bytes`: the targets in `fuzz/`, one after the other.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::place;
use crate::process::{output, run};

/// The most memory of a target, in MiB. More counts as a crash.
const MEMORY: u32 = 1_500;

/// The most seconds for one input. More counts as a crash.
const TIMEOUT: u32 = 20;

/// Hostile bytes for whatever reads some: files, servers' answers, pipeline files
///
/// It needs a nightly toolchain and cargo-fuzz (`cargo install cargo-fuzz`). `fuzz/README.md` says
/// what each target checks. What crashes one is kept in `fuzz/artifacts`.
#[derive(Debug, Args)]
pub(super) struct Bytes {
    /// The targets. Default: all
    targets: Vec<String>,
    /// For how long, each
    #[arg(long, default_value = "300")]
    seconds: u64,
}

impl Bytes {
    pub(super) fn run(&self) -> Result<()> {
        let list = output(cargo_fuzz("list"))
            .context("install cargo-fuzz by `cargo install cargo-fuzz`, and a nightly toolchain")?;
        let all: Vec<_> = list.lines().map(str::to_owned).collect();
        if let Some(unknown) = self.targets.iter().find(|target| !all.contains(target)) {
            bail!(
                "there is no target `{unknown}`: there are {}",
                all.join(", ")
            );
        }
        let targets = match self.targets.is_empty() {
            true => &all,
            false => &self.targets,
        };
        // One that crashes keeps no other from its turn.
        let mut crashed = Vec::new();
        for target in targets {
            println!("\n── {target} ──");
            let corpus = format!("fuzz/corpus/{target}");
            fs::create_dir_all(place::workspace().join(&corpus))?;
            let mut fuzz = cargo_fuzz("run");
            fuzz.args([target, &corpus]);
            for more in ["seeds", "regressions"] {
                let more = format!("fuzz/{more}/{target}");
                if place::workspace().join(&more).is_dir() {
                    fuzz.arg(more);
                }
            }
            fuzz.arg("--")
                .arg(format!("-max_total_time={}", self.seconds))
                .arg(format!("-rss_limit_mb={MEMORY}"))
                .arg(format!("-timeout={TIMEOUT}"))
                .args(["-detect_leaks=0", "-print_final_stats=1"]);
            crashed.extend(run(&mut fuzz).err().map(|error| error.to_string()));
        }
        match crashed.is_empty() {
            true => Ok(()),
            false => bail!("{}", crashed.join("\nerror: ")),
        }
    }
}

/// `cargo fuzz`, by the nightly compiler, which has the instruments.
fn cargo_fuzz(command: &str) -> Command {
    let mut fuzz = Command::new("rustup");
    fuzz.args(["run", "nightly", "cargo", "fuzz", command])
        .current_dir(place::workspace());
    fuzz
}
