//! `cargo xtask lake`: runs `examples/lake` against servers on this machine.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::process::{cargo, run};
use crate::serve::Servers;
use crate::{place, setup};

/// The bucket that the example works in.
const BUCKET: &str = "tidegate-lake";

/// Run examples/lake against S3 and Glue servers on this machine
///
/// Starts SeaweedFS and moto, puts the example's raw data into a bucket, and runs the commands that
/// docs/guide/lake.md gives for AWS. Each is shown before it runs. All is gone when it ends.
#[derive(Debug, Args)]
pub(crate) struct Lake {
    /// Another query than the example's
    #[arg(long, value_name = "SQL")]
    query: Option<String>,
}

impl Lake {
    pub(crate) fn run(&self) -> Result<()> {
        setup::Setup { bench: false }.run()?;
        println!("\nbuilding tidegate …");
        run(&mut cargo(&["build", "--locked", "--package", "tidegate"]))?;
        let example = place::workspace().join("examples/lake");
        let put = format!("{BUCKET}={}", example.join("data").display());
        let servers = Servers::start(&["seaweedfs", "moto", "--bucket", BUCKET, "--put", &put])?;
        println!("\nThe environment that leads to the servers:");
        for (name, value) in servers.environment() {
            println!("  {name}={value}");
        }

        // The servers are new, so what an earlier run remembers of its files is not true of them.
        let state = env::temp_dir().join(format!("tidegate-lake-{}", std::process::id()));
        let query = match &self.query {
            Some(query) => query.clone(),
            None => fs::read_to_string(example.join("query.sql"))?,
        };
        let pipeline = "examples/lake/pipeline.toml";
        let state_text = state.to_string_lossy();
        let settings = "examples/lake/tidegate.toml";
        let commands: [&[&str]; 4] = [
            &["run", pipeline, "--state", &state_text],
            &["catalog", "list", "shop", "--settings", settings],
            &["query", query.trim(), "--settings", settings],
            // The second run finds nothing new.
            &["run", pipeline, "--state", &state_text],
        ];
        let ran = commands
            .iter()
            .try_for_each(|arguments| tidegate(&servers, arguments));
        drop(fs::remove_dir_all(&state));
        ran
    }
}

/// Shows a command of the program and runs it.
fn tidegate(servers: &Servers, arguments: &[&str]) -> Result<()> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let program = place::workspace().join(target).join("debug/tidegate");
    let words = arguments.iter().map(|word| match word.contains(' ') {
        true => format!("\"{word}\""),
        false => (*word).to_owned(),
    });
    println!("\n$ tidegate {}", words.collect::<Vec<_>>().join(" "));
    let mut command = Command::new(program);
    let status = command
        .args(arguments)
        .current_dir(place::workspace())
        .envs(servers.environment())
        .env("LAKE_BUCKET", BUCKET)
        .status()
        .context("tidegate could not be started")?;
    if !status.success() {
        bail!("tidegate failed ({status})");
    }
    Ok(())
}
