//! `cargo xtask bench hostile`.

mod cases;
mod servers;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::data::cache;
use super::measure::ended;
use super::site::empty;
use crate::program::{Build, Program};
use cases::CASES;
use servers::Servers;

/// What hostile files, servers and queries take of memory and time, with default settings
///
/// Each command is a process of its own, which is killed after so many seconds, and gets no more than
/// 8 GB of addresses. Of a case of several commands the table shows what took the most memory. Its
/// last column is what that one said.
#[derive(Debug, Args)]
pub(super) struct Hostile {
    /// Only the cases with this text in their names
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// After how many seconds a command is killed
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    #[command(flatten)]
    program: Program,
}

/// What a case may take.
const MOST: u64 = 500_000_000;

/// Where a case lies, and whom it may ask.
struct Site {
    program: PathBuf,
    folder: PathBuf,
    servers: Servers,
}

/// What came of a command.
struct Ended {
    /// The exit code; else how it was killed.
    how: String,
    in_order: bool,
    peak: u64,
    wall: Duration,
    said: String,
}

impl Hostile {
    pub(super) fn run(&self) -> Result<()> {
        let site = Site {
            program: self.program.find(Build::Release)?,
            folder: cache()?.join("hostile"),
            servers: Servers::start()?,
        };
        println!(
            "\n{:<44}{:>6}{:>9}{:>8}  it said",
            "", "code", "peak MB", "s"
        );
        let mut bad = Vec::new();
        for (name, make) in CASES.iter().filter(|(name, _)| name.contains(&self.only)) {
            empty(&site.folder)?;
            let commands = make(&site).with_context(|| format!("`{name}` can't be made"))?;
            let mut worst: Option<Ended> = None;
            for arguments in commands {
                let ended = self.command(&site, &arguments)?;
                let rank = |ended: &Ended| (!ended.in_order, ended.peak);
                if worst
                    .as_ref()
                    .is_none_or(|worst| rank(worst) < rank(&ended))
                {
                    worst = Some(ended);
                }
            }
            let worst = worst.context("a case without a command")?;
            println!(
                "{name:<44}{:>6}{:>9}{:>8.1}  {}",
                worst.how,
                worst.peak / 1_000_000,
                worst.wall.as_secs_f64(),
                worst.said,
            );
            if !worst.in_order || worst.peak > MOST {
                bad.push(*name);
            }
        }
        fs::remove_dir_all(&site.folder)?;
        ensure!(
            bad.is_empty(),
            "killed, or over {} MB: {}",
            MOST / 1_000_000,
            bad.join("; ")
        );
        Ok(())
    }

    /// Runs the program in the site's folder.
    fn command(&self, site: &Site, arguments: &[String]) -> Result<Ended> {
        let said = site.folder.join("said");
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -v 8000000; exec timeout -s KILL \"$@\"", "sh"])
            .arg(self.seconds.to_string())
            .arg(&site.program)
            .args(arguments)
            .current_dir(&site.folder)
            .envs(site.servers.environment())
            .env("TMPDIR", &site.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said)?);
        let (status, usage) = ended(&mut command)?;
        let code = status.code();
        // What `timeout` says of a process that it has killed is 137.
        let killed = code.is_none_or(|code| code > 128);
        let said = String::from_utf8_lossy(&fs::read(&said)?).into_owned();
        let error = said.lines().find(|line| line.starts_with("error"));
        let said = error.or_else(|| said.lines().last()).unwrap_or_default();
        Ok(Ended {
            how: code.map_or_else(|| "signal".to_owned(), |code| code.to_string()),
            in_order: !killed && code != Some(101),
            peak: usage.peak,
            wall: usage.wall,
            said: said.chars().take(100).collect(),
        })
    }
}
