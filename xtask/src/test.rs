//! `cargo xtask test`: everything that must hold before a change is taken.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::process::{answer, cargo, run};
use crate::{place, setup};

/// Set up, then check formatting, lints, all tests and the documentation
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Only run the tests: no checks of formatting, lints, dependencies and documentation
    #[arg(long)]
    quick: bool,
    /// Arguments for `cargo test`, such as `-p tidegate-http` or a test's name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// One check, and how it went.
struct Step {
    name: &'static str,
    time: Duration,
    failure: Option<anyhow::Error>,
}

impl Test {
    pub(crate) fn run(&self) -> Result<()> {
        let mut steps = vec![Step::take("setup", || setup::Setup { bench: false }.run())];
        // Nothing can be right without it.
        if steps[0].failure.is_none() {
            let target = target_directory();
            for (name, mut command) in self.commands() {
                if let Some(target) = &target {
                    command.env("CARGO_TARGET_DIR", target);
                }
                println!("\n── {name} ──");
                steps.push(Step::take(name, || run(&mut command)));
            }
        }
        summary(&steps)
    }

    /// The checks, the quickest first. All are made, so that one run tells all that is wrong.
    fn commands(&self) -> Vec<(&'static str, Command)> {
        let mut tests = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
        tests.args(&self.arguments);
        if self.quick {
            return vec![("tests", tests)];
        }
        let mut docs = cargo(&["doc", "--workspace", "--locked", "--no-deps"]);
        docs.env("RUSTDOCFLAGS", "-D warnings");
        let clippy = ["clippy", "--workspace", "--all-targets", "--locked"];
        let mut lints = cargo(&clippy);
        lints.args(["--", "-D", "warnings"]);
        let mut commands = vec![("format", cargo(&["fmt", "--all", "--check"]))];
        if answer("cargo", &["deny", "--version"]).is_some() {
            // Not `advisories`: they change from day to day, and need the network.
            let deny = [
                "deny",
                "--workspace",
                "check",
                "bans",
                "licenses",
                "sources",
            ];
            commands.push(("dependencies", cargo(&deny)));
        } else {
            println!("dependencies: not checked, because cargo-deny isn't installed");
        }
        let reference = cargo(&["xtask", "docs", "--check"]);
        commands.extend([
            ("lints", lints),
            ("tests", tests),
            ("reference", reference),
            ("documentation", docs),
        ]);
        commands
    }
}

impl Step {
    fn take(name: &'static str, check: impl FnOnce() -> Result<()>) -> Self {
        let begun = Instant::now();
        let failure = check().err();
        let time = begun.elapsed();
        Self {
            name,
            time,
            failure,
        }
    }
}

/// The build directory outside the clone, where there is one or CI may make one: a fresh clone then
/// builds only what has changed. `None`: cargo's own choice.
fn target_directory() -> Option<PathBuf> {
    if env::var_os("CARGO_TARGET_DIR").is_some() {
        return None;
    }
    let directory = place::cache()?.join("target");
    (env::var_os("CI").is_some() || directory.is_dir()).then_some(directory)
}

fn summary(steps: &[Step]) -> Result<()> {
    println!("\n── summary ──");
    for Step {
        name,
        time,
        failure,
    } in steps
    {
        let how = if failure.is_none() { "ok" } else { "FAILED" };
        println!("{name:<14} {how:<6} {:>8.1} s", time.as_secs_f64());
    }
    let failures: Vec<_> = steps
        .iter()
        .filter_map(|step| step.failure.as_ref())
        .map(|error| format!("{error:#}"))
        .collect();
    if !failures.is_empty() {
        bail!("{}", failures.join("\nerror: "));
    }
    Ok(())
}
