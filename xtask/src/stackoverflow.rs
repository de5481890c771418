//! `cargo xtask stackoverflow`: runs `examples/stackoverflow` against servers on this machine.

use std::fs;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::example::Example;
use crate::place;
use crate::process::answer;
use crate::program::Program;

const RAW: &str = "tidegate-stackoverflow-raw";
const PROCESSED: &str = "tidegate-stackoverflow-processed";

/// Run examples/stackoverflow against a fake of the API, S3 and Glue servers on this machine
///
/// Starts the fake, which changes while it is read, SeaweedFS and moto, and runs the commands that
/// examples/stackoverflow/README.md gives for the real ones. Each is shown before it runs. All is
/// gone when it ends.
#[derive(Debug, Args)]
pub(crate) struct StackOverflow {
    #[command(flatten)]
    program: Program,
    /// Another query than the example's
    #[arg(long, value_name = "SQL")]
    query: Option<String>,
    /// How many questions of the last 30 days the fake has
    #[arg(long, value_name = "N", default_value = "30000")]
    questions: u32,
}

impl StackOverflow {
    pub(crate) fn run(&self) -> Result<()> {
        let directory = place::workspace().join("examples/stackoverflow");
        let questions = self.questions.to_string();
        let mut example = Example::prepare(
            "stackoverflow",
            &self.program,
            &[
                "seaweedfs",
                "moto",
                "--bucket",
                RAW,
                "--bucket",
                PROCESSED,
                "stackexchange",
                "--questions",
                &questions,
                "--changes",
                "5",
            ],
        )?;
        example.set("RAW_BUCKET", RAW.to_owned());
        example.set("PROCESSED_BUCKET", PROCESSED.to_owned());
        let day = answer("date", &["-u", "+%Y/%m/%d"]).context("`date` doesn't tell the day")?;
        example.set("DAY", day);

        let query = match &self.query {
            Some(query) => query.clone(),
            None => fs::read_to_string(directory.join("query.sql"))?,
        };
        let settings = "examples/stackoverflow/tidegate.toml";
        example.tidegate(&["run", "examples/stackoverflow/ingest.toml"])?;
        example.tidegate(&["run", "examples/stackoverflow/process.toml"])?;
        example.tidegate(&[
            "catalog",
            "list",
            "stackoverflow_db",
            "--settings",
            settings,
        ])?;
        example.tidegate(&["query", query.trim(), "--settings", settings])
    }
}
