//! `cargo xtask test`: everything that must hold before a change is taken.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Result, bail};
use clap::Args;

use crate::process::{cargo, run, run_quietly};
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
    /// What it couldn't do.
    note: Option<String>,
}

impl Test {
    pub(crate) fn run(&self) -> Result<()> {
        let mut steps = vec![Step::take("setup", || setup::Setup { bench: false }.run())];
        // Nothing can be right without it.
        if steps[0].failure.is_none() {
            if !self.quick {
                println!("\n── advisories ──");
                steps.push(advisories());
            }
            let target = target_folder();
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
        let dependencies = deny(&["check", "bans", "licenses", "sources"]);
        let reference = cargo(&["xtask", "docs", "--check"]);
        vec![
            ("format", cargo(&["fmt", "--all", "--check"])),
            ("dependencies", dependencies),
            ("lints", lints),
            ("tests", tests),
            ("reference", reference),
            ("documentation", docs),
        ]
    }
}

/// cargo-deny, as setup has installed it.
fn deny(args: &[&str]) -> Command {
    let mut command = Command::new(place::root().join("cargo-deny/bin/cargo-deny"));
    command
        .args(["--workspace", "--locked"])
        .args(args)
        .current_dir(place::workspace());
    command
}

/// Whether a dependency is known to be weak. What is known changes from day to day and comes over the
/// network: without that, the last copy says it, and without a copy nothing does.
fn advisories() -> Step {
    let mut note = None;
    let check = || match run_quietly(&mut deny(&["fetch", "db"])) {
        Ok(()) => run(&mut deny(&["check", "advisories"])),
        Err(error) => {
            println!("the database of advisories can't be fetched: {error:#}");
            if !has_copy() {
                note = Some("NOT CHECKED: the database of advisories can't be fetched".to_owned());
                return Ok(());
            }
            note = Some("by the last copy of the database, which can't be fetched".to_owned());
            run(&mut deny(&["--offline", "check", "advisories"]))
        }
    };
    let step = Step::take("advisories", check);
    Step { note, ..step }
}

/// Whether cargo-deny has fetched its database once.
fn has_copy() -> bool {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let copies = home.and_then(|home| fs::read_dir(home.join("advisory-dbs")).ok());
    let mut copies = copies.into_iter().flatten().flatten();
    copies.any(|copy| copy.path().join(".git").exists())
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
            note: None,
        }
    }
}

/// The build folder outside the clone, where there is one or CI may make one: a fresh clone then
/// builds only what has changed. `None`: cargo's own choice.
fn target_folder() -> Option<PathBuf> {
    if env::var_os("CARGO_TARGET_DIR").is_some() {
        return None;
    }
    let folder = place::cache()?.join("target");
    (env::var_os("CI").is_some() || folder.is_dir()).then_some(folder)
}

fn summary(steps: &[Step]) -> Result<()> {
    println!("\n── summary ──");
    for Step {
        name,
        time,
        failure,
        note,
    } in steps
    {
        let how = if failure.is_none() { "ok" } else { "FAILED" };
        let note = note.as_deref().unwrap_or_default();
        println!("{name:<14} {how:<6} {:>8.1} s  {note}", time.as_secs_f64());
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
