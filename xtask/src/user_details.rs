//! `cargo xtask user-details`: runs `examples/user-details` against servers on this machine.

use std::fs;
use std::io::{Read as _, Write as _};

use anyhow::{Result, ensure};
use clap::Args;

use crate::example::{Example, connect, free_address};
use crate::place;
use crate::program::Program;

const RAW: &str = "tidegate-user-details-raw";
const INTEREST: &str = "tidegate-user-details";

/// What is posted: the status that it must get, and the body.
const BODIES: [(u16, &str); 6] = [
    (
        202,
        r#"{"user": {"first_name": "Ada", "last_name": "Lovelace"}, "address": {"zip_code": "10115"}}"#,
    ),
    (
        202,
        r#"{"zip_code": "10115", "people": [{"first_name": "Grace", "middle_name": "Brewster", "last_name": "Hopper"}, {"first_name": "Alan", "last_name": "Turing"}]}"#,
    ),
    (
        202,
        "{\n  \"first_name\": \"Zoë\",\n  \"zip_code\": \"20095\"\n}",
    ),
    (202, r#"{"nothing": "of interest"}"#),
    (400, ""),
    (400, r#"{"first_name": "#),
];

/// Run examples/user-details against S3 and Glue servers on this machine
///
/// Starts SeaweedFS and moto and the pipeline, posts some bodies to it, counts what comes of them, stops it,
/// and runs the commands that examples/user-details/README.md gives for AWS. Each is shown before it
/// runs. All is gone when it ends.
#[derive(Debug, Args)]
pub(crate) struct UserDetails {
    #[command(flatten)]
    program: Program,
}

impl UserDetails {
    pub(crate) fn run(&self) -> Result<()> {
        let directory = place::workspace().join("examples/user-details");
        let mut example = Example::prepare(
            "user-details",
            &self.program,
            &["seaweedfs", "moto", "--bucket", RAW, "--bucket", INTEREST],
        )?;
        example.set("RAW_BUCKET", RAW.to_owned());
        example.set("INTEREST_BUCKET", INTEREST.to_owned());
        let address = free_address()?;
        example.set("LISTEN", address.clone());
        let log = format!(
            "sources.api.log={}",
            example.directory().join("log").display()
        );
        let pipeline = "examples/user-details/pipeline.toml";
        // Nobody waits a minute here.
        let interval = "checkpoint.interval=1s";
        let running = example.start(&["run", pipeline, "--set", &log, "--set", interval])?;
        for (status, body) in BODIES {
            let answer = post(&address, body)?;
            println!("\nPOST {}\n  {answer}", body.replace('\n', " "));
            let found = answer
                .split(' ')
                .nth(1)
                .and_then(|word| word.parse::<u16>().ok());
            ensure!(found == Some(status), "the answer should be {status}");
        }
        for (url, rows) in [
            (format!("s3://{RAW}/raw_details/"), 4),
            (format!("s3://{INTEREST}/user_details/"), 4),
        ] {
            example.wait_for(&format!("SELECT count(*) AS rows FROM '{url}'"), rows)?;
        }
        running.stop()?;
        let settings = "examples/user-details/tidegate.toml";
        let url = format!("s3://{INTEREST}/");
        let crawl = ["catalog", "crawl", &url, "--database", "user_database"];
        example.tidegate(&[&crawl[..], &["--settings", settings]].concat())?;
        let query = fs::read_to_string(directory.join("query.sql"))?;
        example.tidegate(&["query", query.trim(), "--settings", settings])
    }
}

/// Posts a body; gives the answer's first line and its body.
fn post(address: &str, body: &str) -> Result<String> {
    let mut stream = connect(address)?;
    let length = body.len();
    write!(
        stream,
        "POST /users HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let first = answer.lines().next().unwrap_or_default();
    Ok(format!(
        "{first} {}",
        answer.lines().last().unwrap_or_default()
    ))
}
