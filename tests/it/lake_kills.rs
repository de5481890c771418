//! Killed at any moment, a pipeline to S3 and Glue ends with exactly its input's rows, a catalog
//! that equals the files, and no upload left open; wherever its state is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_testkit::servers::{AwsServer, Proxy};

use super::lake::{BUCKET, Environment, Lake};
use super::support::{Running, Site, batches_of, ids_of_batches, kill_again_and_again};

const ROWS: i64 = 40_000;

/// How many kills land at any moment, besides those that are aimed.
const KILLS: u32 = 20;

/// Rows in a partition: new ones come as the input is read.
const IN_A_DAY: i64 = 3000;

/// Copies the files under a prefix to a directory.
pub(crate) fn download(server: &AwsServer, prefix: &str, directory: &Path) {
    for (number, object) in server.objects(BUCKET, prefix).into_iter().enumerate() {
        std::fs::create_dir_all(directory).expect("a directory");
        let file = directory.join(format!("{number}.parquet"));
        std::fs::write(file, server.get(BUCKET, &object.key)).expect("a file");
    }
}

/// The column `id` of all Parquet files in a directory, sorted.
pub(crate) fn ids_in(directory: &Path) -> Vec<i64> {
    let mut ids = ids_of_batches(&batches_of(directory));
    ids.sort_unstable();
    ids
}

fn input() -> String {
    let mut text = String::new();
    for id in 0..ROWS {
        let day = id / IN_A_DAY;
        writeln!(text, r#"{{"id":{id},"name":"n{id}","day":{day}}}"#).expect("a string");
    }
    text
}

/// A pipeline with a directory of the bucket and a table of its own.
struct Made<'a> {
    lake: &'a Lake,
    in_s3: bool,
    count: AtomicUsize,
    input: &'a Path,
}

impl Made<'_> {
    fn fresh(&self) -> Site {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let place = if self.in_s3 { "s3" } else { "directory" };
        let name = format!("kill_{place}_{number}");
        let site = Site::with(&format!(
            r#"
            name = "{name}"
            guarantee = "exactly_once"

            [checkpoint]
            bytes = "150 kB"

            [sources.rows]
            type = "files"
            url = "{}"
            incremental = true
            piece_size = "64 KiB"

            [sinks.lake]
            type = "parquet"
            inputs = ["rows"]
            url = "s3://{BUCKET}/{name}/rows"
            partition_by = ["day"]
            catalog = {{ type = "glue", database = "lake", table = "{name}" }}
            "#,
            self.input.display()
        ));
        site.write("name", &name);
        let state = match self.in_s3 {
            true => format!("s3://{BUCKET}/{name}/state"),
            false => ".tidegate".to_owned(),
        };
        site.write("tidegate.toml", format!("[runtime]\nstate = \"{state}\"\n"));
        site
    }

    fn start(&self, site: &Site, aws: &Environment) -> Running {
        site.spawn(aws.command(site, &["run", "pipeline.toml"]))
    }

    /// The partitions that have files, and those that the catalog has.
    fn partitions(&self, site: &Site) -> (BTreeSet<String>, BTreeSet<String>) {
        let name = site.read("name");
        let directory = format!("{name}/rows/");
        let objects = self.lake.s3.objects(BUCKET, &directory);
        let directories = objects.iter().map(|object| {
            let rest = &object.key[directory.len()..];
            rest.split_once('/').expect("a directory").0.to_owned()
        });
        let known = match self.lake.glue.glue_table("lake", &name) {
            None => BTreeSet::new(),
            Some(_) => {
                let partitions = self.lake.glue.glue_partitions("lake", &name);
                let values = partitions.into_keys();
                values.map(|values| format!("day={}", values[0])).collect()
            }
        };
        (directories.collect(), known)
    }

    /// What must hold when the run has ended by itself.
    fn check(&self, site: &Site) {
        let name = site.read("name");
        let copy = site.path("copy");
        let _ = std::fs::remove_dir_all(&copy);
        download(&self.lake.s3, &format!("{name}/rows/"), &copy);
        let ids = ids_in(&copy);
        assert!(ids.iter().copied().eq(0..ROWS), "{} rows", ids.len());
        let (directories, known) = self.partitions(site);
        assert_eq!(directories, known, "the catalog equals the files");
        let uploads = self.lake.s3.uploads(BUCKET);
        let own = uploads
            .iter()
            .filter(|upload| upload.key.starts_with(&name));
        assert_eq!(own.count(), 0, "an upload is left open");
        if !self.in_s3 {
            site.state().expect("a state").expect_finished();
        }
    }
}

fn survives_any_kill(in_s3: bool) {
    let lake = Lake::new();
    let aws = lake.environment();
    let inputs = Site::new();
    let input = inputs.write("rows.ndjson", input());
    let made = Made {
        lake: &lake,
        in_s3,
        count: AtomicUsize::new(0),
        input: &input,
    };

    // Right between publishing files and registering their partitions, in a run and in its
    // successor's replay.
    let glue = Proxy::before(&lake.glue.url());
    let by_proxy = aws.clone().with("AWS_ENDPOINT_URL_GLUE", &glue.url());
    let site = made.fresh();
    let mut between = 0;
    for (turn, pass) in [0, 0, 1, 0, 1, 0].into_iter().enumerate() {
        let came = AtomicUsize::new(0);
        let hold = glue.hold(move |request| {
            request.target() == "AWSGlue.BatchCreatePartition"
                && came.fetch_add(1, Ordering::Relaxed) >= pass
        });
        let running = made.start(&site, &by_proxy);
        assert!(hold.wait_for(1, Duration::from_secs(60)), "turn {turn}");
        let (directories, known) = made.partitions(&site);
        assert!(
            known.is_subset(&directories),
            "{known:?} of {directories:?}"
        );
        between += usize::from(known.len() < directories.len());
        assert!(running.kill().is_some(), "turn {turn}");
        drop(hold);
    }
    assert!(
        between >= 4,
        "only {between} kills came before registration"
    );
    made.start(&site, &aws).wait().expect_done();
    made.check(&site);

    let start = |site: &Site| made.start(site, &aws);
    kill_again_and_again(
        3,
        KILLS,
        || made.fresh(),
        start,
        |site, done| {
            if done {
                made.check(site);
            }
        },
    );
}

#[test]
fn a_lake_with_its_state_in_a_directory_survives_any_kill() {
    survives_any_kill(false);
}

#[test]
fn a_lake_with_its_state_on_s3_survives_any_kill() {
    survives_any_kill(true);
}
