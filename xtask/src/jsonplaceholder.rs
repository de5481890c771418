//! `cargo xtask jsonplaceholder`: runs `examples/jsonplaceholder` against servers on this machine.

use anyhow::Result;
use clap::Args;

use crate::example::Example;
use crate::program::Program;

/// The bucket and the stream that the example works in.
const BUCKET: &str = "tidegate-jsonplaceholder";
const STREAM: &str = "jsonplaceholder-users";

/// The rows of each resource.
const TABLES: [(&str, u64); 6] = [
    ("users", 10),
    ("posts", 100),
    ("comments", 500),
    ("albums", 100),
    ("photos", 5_000),
    ("todos", 200),
];

/// Run examples/jsonplaceholder against the API's own server, Kinesis and S3 servers on this machine
///
/// Starts JSONPlaceholder, kinesis-local and SeaweedFS, and runs the commands that
/// examples/jsonplaceholder/README.md gives for the real ones, on a copy of the example. Each is shown
/// before it runs, and what comes of it is counted. All is gone when it ends.
#[derive(Debug, Args)]
pub(crate) struct JsonPlaceholder {
    #[command(flatten)]
    program: Program,
}

impl JsonPlaceholder {
    pub(crate) fn run(&self) -> Result<()> {
        let mut example = Example::prepare(
            "jsonplaceholder",
            &self.program,
            &[
                "jsonplaceholder",
                "seaweedfs",
                "--bucket",
                BUCKET,
                "kinesis",
                "--stream",
                STREAM,
            ],
        )?;
        example.set("BUCKET", BUCKET.to_owned());
        example.set("STREAM", STREAM.to_owned());
        example.copy("jsonplaceholder")?;
        let api = example.server("JSONPLACEHOLDER_URL")?;
        let api = format!("sources.api.base_url={api}");

        let directory = "examples/jsonplaceholder";
        let pipeline = format!("{directory}/pipeline.toml");
        example.tidegate(&["run", &pipeline, "--set", &api])?;
        for (table, rows) in TABLES {
            let query = format!("SELECT count(*) AS rows FROM '{directory}/out/tables/{table}/'");
            example.expect(&query, rows)?;
        }
        let users = format!("SELECT count(*) AS rows FROM '{directory}/out/processed/users/'");
        example.expect(&users, 4)?;
        let raw = format!("SELECT count(DISTINCT stream) AS streams FROM '{directory}/out/raw/'");
        example.expect(&raw, 6)?;

        let [stream, delivery] =
            ["stream", "delivery"].map(|name| format!("{directory}/{name}.toml"));
        let delivered = format!("SELECT count(*) AS rows FROM 's3://{BUCKET}/raw/users/'");
        // What is delivered once isn't delivered by the next run.
        for rows in [10, 20] {
            example.tidegate(&["run", &stream, "--set", &api])?;
            example.tidegate(&["run", &delivery])?;
            example.expect(&delivered, rows)?;
        }
        Ok(())
    }
}
