//! Starts servers for as long as somebody holds its standard input open.
//!
//! ```sh
//! cargo run -p tidegate-testkit --example serve -- seaweedfs moto --bucket lake --put lake=raw
//! cargo run -p tidegate-testkit --example serve -- mariadb --sql shop.sql
//! cargo run -p tidegate-testkit --example serve -- stackexchange --questions 2000 --changes 5
//! cargo run -p tidegate-testkit --example serve -- jsonplaceholder kinesis --stream users
//! ```
//!
//! As soon as they answer it prints one line, a JSON object: the environment with which the AWS
//! SDKs, the AWS command line and `tidegate` reach them, `MYSQL_URL`, without a database,
//! `STACKEXCHANGE_URL` and `JSONPLACEHOLDER_URL`. It ends, and they with it, when its standard input
//! does (Ctrl-D) or on Ctrl-C.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to a person or to xtask"
)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;
use std::{env, fs, io};

use tidegate_testkit::servers::{
    AwsServer, MariaDb, Proxy, Reply, Rules, StackExchange, jsonplaceholder, kinesis, mariadb,
    ministack, moto, seaweedfs,
};

const USAGE: &str =
    "usage: serve [seaweedfs] [moto] [ministack] [--bucket NAME]… [--put BUCKET=DIRECTORY]…
             [kinesis] [--stream NAME]… [--throttle NTH]
             [mariadb] [--sql FILE]…
             [jsonplaceholder]
             [stackexchange] [--questions NUMBER] [--changes PER_SECOND]
  The first of AWS's servers is S3, the last one everything else; but kinesis is Kinesis alone,
  and each stream in it has two shards. With --throttle, `KINESIS_THROTTLED_URL` is a proxy before it
  that answers every NTH request with `ProvisionedThroughputExceededException`.
  stackexchange is a fake of the Stack Exchange API with the site `stackoverflow`: 1000 questions
  of the last 30 days unless told otherwise, which don't change. It knows the key `a-key`.";

/// Over which time the questions of the fake Stack Exchange were asked.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), String> {
    let mut servers = Vec::new();
    let mut buckets = Vec::new();
    let mut puts = Vec::new();
    let mut streaming = None;
    let mut streams = Vec::new();
    let mut throttle = None;
    let mut database = None;
    let mut scripts = Vec::new();
    let mut placeholder = None;
    let mut api = None;
    let mut questions = 1_000;
    let mut per_second = 0;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "seaweedfs" => servers.push(seaweedfs()),
            "moto" => servers.push(moto()),
            "ministack" => servers.push(ministack()),
            "kinesis" => streaming = Some(kinesis()),
            "jsonplaceholder" => placeholder = Some(jsonplaceholder()),
            "mariadb" => database = Some(mariadb()),
            "stackexchange" => api = Some(StackExchange::start(Rules::default())),
            "--questions" => questions = number(&value()?)?,
            "--changes" => per_second = number(&value()?)?,
            "--sql" => scripts.push(PathBuf::from(value()?)),
            "--stream" => streams.push(value()?),
            "--throttle" => throttle = Some(number(&value()?)?),
            "--bucket" => buckets.push(value()?),
            "--put" => {
                let value = value()?;
                let (bucket, directory) = value
                    .split_once('=')
                    .ok_or_else(|| format!("`{value}` is not BUCKET=DIRECTORY"))?;
                puts.push((bucket.to_owned(), PathBuf::from(directory)));
            }
            other => return Err(format!("`{other}` is not known")),
        }
    }
    let mut environment = BTreeMap::new();
    if let Some(streaming) = &streaming {
        for stream in &streams {
            streaming.stream(stream, 2);
        }
        environment.extend(streaming.environment());
        environment.insert("AWS_ENDPOINT_URL_KINESIS", streaming.url());
    }
    let throttled = match (&streaming, throttle) {
        (Some(streaming), Some(nth)) => {
            let proxy = throttled(streaming, nth);
            environment.insert("KINESIS_THROTTLED_URL", proxy.url());
            Some(proxy)
        }
        _ => None,
    };
    if let (Some(s3), Some(others)) = (servers.first(), servers.last()) {
        for bucket in &buckets {
            s3.bucket(bucket);
        }
        for (bucket, directory) in &puts {
            put(s3, bucket, directory)
                .map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        environment.extend(others.environment());
        environment.insert("AWS_ENDPOINT_URL_S3", s3.url());
    }
    if let Some(placeholder) = &placeholder {
        environment.insert("JSONPLACEHOLDER_URL", placeholder.url());
    }
    if let Some(database) = &database {
        for script in &scripts {
            fill(database, script).map_err(|error| format!("{}: {error}", script.display()))?;
        }
        environment.insert("MYSQL_URL", database.url(""));
    }
    let mut changes = None;
    if let Some(api) = &api {
        let site = api.site("stackoverflow");
        site.questions(questions, MONTH, 1);
        changes = (per_second > 0).then(|| site.changes_in_background(per_second, 1));
        environment.insert("STACKEXCHANGE_URL", api.url());
    }
    if environment.is_empty() {
        return Err("name a server".to_owned());
    }
    let line = serde_json::to_string(&environment).map_err(|error| error.to_string())?;
    println!("{line}");
    let ended = io::stdin().read_to_end(&mut Vec::new());
    drop((changes, throttled));
    ended.map(drop).map_err(|error| error.to_string())
}

/// A proxy that answers every `nth` request itself.
fn throttled(kinesis: &AwsServer, nth: u64) -> Proxy {
    let proxy = Proxy::before(&kinesis.url());
    let mut count = 0_u64;
    proxy.reply(move |_| {
        count += 1;
        let code = "ProvisionedThroughputExceededException";
        count
            .is_multiple_of(nth)
            .then(|| Reply::json_error(400, code, "Rate exceeded for shard."))
    });
    proxy
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

/// Runs a file of SQL.
fn fill(database: &MariaDb, script: &Path) -> Result<(), String> {
    let script = fs::read_to_string(script).map_err(|error| error.to_string())?;
    database.try_sql(&script).map(drop)
}

/// Puts all files of a directory into a bucket, under their paths in it.
fn put(s3: &AwsServer, bucket: &str, directory: &Path) -> io::Result<()> {
    let mut directories = vec![directory.to_owned()];
    while let Some(inner) = directories.pop() {
        for entry in fs::read_dir(inner)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let key = path.strip_prefix(directory).map_err(io::Error::other)?;
            s3.put(bucket, &key.to_string_lossy(), fs::read(&path)?);
        }
    }
    Ok(())
}
