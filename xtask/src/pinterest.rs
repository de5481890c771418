//! `cargo xtask pinterest`: runs `examples/pinterest` against servers on this machine.

use anyhow::Result;
use clap::Args;

use crate::example::{Example, connect, free_address};
use crate::place;
use crate::program::Program;

/// The bucket that the example works in.
const BUCKET: &str = "tidegate-pinterest";

/// What is posted, and the column by which its rows are told apart.
const TOPICS: [(&str, &str); 3] = [("pin", "index"), ("geo", "ind"), ("user", "ind")];

/// Run examples/pinterest against MariaDB, Kinesis and S3 servers on this machine
///
/// Starts a MariaDB with the emulator's tables, kinesis-local and SeaweedFS, and the three pipelines that
/// examples/pinterest/README.md gives for AWS, on a copy of the example. Each command is shown before it
/// runs, and what comes of it is counted. All is gone when it ends.
#[derive(Debug, Args)]
pub(crate) struct Pinterest {
    #[command(flatten)]
    program: Program,
    /// How many posts are made
    #[arg(long, value_name = "N", default_value = "60", value_parser = clap::value_parser!(u64).range(1..))]
    posts: u64,
}

impl Pinterest {
    pub(crate) fn run(&self) -> Result<()> {
        let tables = place::workspace().join("examples/pinterest-emulator/pinterest.sql");
        let tables = tables.display().to_string();
        let streams = TOPICS.map(|(topic, _)| format!("streaming-{topic}"));
        let mut servers = vec!["seaweedfs", "--bucket", BUCKET];
        servers.extend(["mariadb", "--sql", &tables, "kinesis"]);
        for stream in &streams {
            servers.extend(["--stream", stream]);
        }
        let mut example = Example::prepare("pinterest", &self.program, &servers)?;
        let address = free_address()?;
        let database = format!("{}pinterest", example.server("MYSQL_URL")?);
        example.set("PINTEREST_DATABASE_URL", database);
        example.set("PINTEREST_DATABASE_PASSWORD", String::new());
        example.set("BUCKET", BUCKET.to_owned());
        example.set("LISTEN", address.clone());
        example.set("API_URL", format!("http://{address}"));
        example.copy("pinterest")?;

        let api = example.start(&["run", "examples/pinterest/api.toml"])?;
        let stream = example.start(&["run", "examples/pinterest/stream.toml"])?;
        drop(connect(&address)?);
        let rounds = format!("sources.pinterest.sample.rounds={}", self.posts);
        // Nobody waits a second for each post here.
        let every = "sources.pinterest.sample.every=0s..20ms";
        let post = "examples/pinterest/post.toml";
        example.tidegate(&["run", post, "--set", &rounds, "--set", every])?;
        for (topic, key) in TOPICS {
            let batches = format!("'s3://{BUCKET}/topics/{topic}/'");
            let count = format!("SELECT count(*) AS rows FROM {batches}");
            example.wait_for(&count, self.posts)?;
            // Chance may have posted a row again; the tables have it once.
            let distinct = format!("SELECT count(DISTINCT \"{key}\") AS rows FROM {batches}");
            let distinct = example.number(&distinct)?;
            let table = format!("SELECT count(*) AS rows FROM 's3://{BUCKET}/tables/{topic}/'");
            example.wait_for(&table, distinct)?;
        }
        stream.stop()?;
        api.stop()?;
        example.tidegate(&["query", &most_followed()])
    }
}

/// Who has most followers in each of five countries.
fn most_followed() -> String {
    let table = |name: &str| format!("'s3://{BUCKET}/tables/{name}/'");
    format!(
        "SELECT g.country, max(p.follower_count) AS followers, count(*) AS posts
FROM {} AS p JOIN {} AS g ON p.ind = g.ind
GROUP BY g.country
ORDER BY followers DESC, g.country
LIMIT 5",
        table("pin"),
        table("geo")
    )
}
