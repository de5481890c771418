//! `cargo xtask lake`: runs `examples/lake` against servers on this machine.

use std::fs;

use anyhow::Result;
use clap::Args;

use crate::example::Example;
use crate::place;
use crate::program::Program;

/// The bucket that the example works in.
const BUCKET: &str = "tidegate-lake";

/// Run examples/lake against S3 and Glue servers on this machine
///
/// Starts SeaweedFS and moto, puts the example's raw data into a bucket, and runs the commands that
/// docs/guide/lake.md gives for AWS. Each is shown before it runs. All is gone when it ends.
#[derive(Debug, Args)]
pub(crate) struct Lake {
    #[command(flatten)]
    program: Program,
    /// Another query than the example's
    #[arg(long, value_name = "SQL")]
    query: Option<String>,
}

impl Lake {
    pub(crate) fn run(&self) -> Result<()> {
        let directory = place::workspace().join("examples/lake");
        let put = format!("{BUCKET}={}", directory.join("data").display());
        let servers = ["seaweedfs", "moto", "--bucket", BUCKET, "--put", &put];
        let mut example = Example::prepare("lake", &self.program, &servers)?;
        example.set("LAKE_BUCKET", BUCKET.to_owned());

        let query = match &self.query {
            Some(query) => query.clone(),
            None => fs::read_to_string(directory.join("query.sql"))?,
        };
        let pipeline = "examples/lake/pipeline.toml";
        let settings = "examples/lake/tidegate.toml";
        example.tidegate(&["run", pipeline])?;
        example.tidegate(&["catalog", "list", "shop", "--settings", settings])?;
        example.tidegate(&["query", query.trim(), "--settings", settings])?;
        // The second run finds nothing new.
        example.tidegate(&["run", pipeline])
    }
}
