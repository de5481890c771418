//! `cargo xtask retail`: runs `examples/retail` against servers on this machine.

use std::fs;

use anyhow::Result;
use clap::Args;

use crate::example::Example;
use crate::place;
use crate::program::Program;

/// The bucket that the example works in.
const BUCKET: &str = "tidegate-retail";

/// Run examples/retail against MariaDB, S3 and Glue servers on this machine
///
/// Starts a MariaDB with the example's tables, SeaweedFS and moto, and runs the commands that
/// examples/retail/README.md gives for RDS and AWS. Each is shown before it runs. All is gone when it
/// ends.
#[derive(Debug, Args)]
pub(crate) struct Retail {
    #[command(flatten)]
    program: Program,
    /// Another query than the example's
    #[arg(long, value_name = "SQL")]
    query: Option<String>,
}

impl Retail {
    pub(crate) fn run(&self) -> Result<()> {
        let directory = place::workspace().join("examples/retail");
        let file = |name: &str| directory.join(name).display().to_string();
        let (tables, rights) = (file("shop.sql"), file("rights.sql"));
        let mut example = Example::prepare(
            "retail",
            &self.program,
            &[
                "seaweedfs",
                "moto",
                "--bucket",
                BUCKET,
                "mariadb",
                "--sql",
                &tables,
                "--sql",
                &rights,
            ],
        )?;
        let url = example.server("MYSQL_URL")?.replace("root@", "reader@");
        example.set("RETAIL_BUCKET", BUCKET.to_owned());
        example.set("RETAIL_DATABASE_URL", format!("{url}retail"));
        example.set("RETAIL_DATABASE_PASSWORD", "tides".to_owned());
        // The day after the last one of the example's rows.
        example.set("DS", "2026-01-18".to_owned());

        let query = match &self.query {
            Some(query) => query.clone(),
            None => fs::read_to_string(directory.join("query.sql"))?,
        };
        let settings = "examples/retail/tidegate.toml";
        example.tidegate(&["run", "examples/retail/extract.toml"])?;
        example.tidegate(&["run", "examples/retail/transform.toml"])?;
        example.tidegate(&["catalog", "list", "retail", "--settings", settings])?;
        example.tidegate(&["query", query.trim(), "--settings", settings])
    }
}
