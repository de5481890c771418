//! Starts servers for as long as somebody holds its standard input open.
//!
//! ```sh
//! cargo run -p tidegate-testkit --example serve -- seaweedfs moto --bucket lake --put lake=raw
//! cargo run -p tidegate-testkit --example serve -- mariadb --sql shop.sql
//! ```
//!
//! As soon as they answer it prints one line, a JSON object: the environment with which the AWS
//! SDKs, the AWS command line and `tidegate` reach them, and `MYSQL_URL`, without a database. It ends, and they with it, when its standard
//! input does (Ctrl-D) or on Ctrl-C.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to a person or to xtask"
)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use tidegate_testkit::servers::{AwsServer, MariaDb, mariadb, ministack, moto, seaweedfs};

const USAGE: &str =
    "usage: serve [seaweedfs] [moto] [ministack] [--bucket NAME]… [--put BUCKET=FOLDER]…
             [mariadb] [--sql FILE]…
  The first of AWS's servers is S3, the last one everything else.";

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
    let mut database = None;
    let mut scripts = Vec::new();
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
            "mariadb" => database = Some(mariadb()),
            "--sql" => scripts.push(PathBuf::from(value()?)),
            "--bucket" => buckets.push(value()?),
            "--put" => {
                let value = value()?;
                let (bucket, folder) = value
                    .split_once('=')
                    .ok_or_else(|| format!("`{value}` is not BUCKET=FOLDER"))?;
                puts.push((bucket.to_owned(), PathBuf::from(folder)));
            }
            other => return Err(format!("`{other}` is not known")),
        }
    }
    if servers.is_empty() && database.is_none() {
        return Err("name a server".to_owned());
    }
    let mut environment = BTreeMap::new();
    if let (Some(s3), Some(others)) = (servers.first(), servers.last()) {
        for bucket in &buckets {
            s3.bucket(bucket);
        }
        for (bucket, folder) in &puts {
            put(s3, bucket, folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        environment.extend(others.environment());
        environment.insert("AWS_ENDPOINT_URL_S3", s3.url());
    }
    if let Some(database) = &database {
        for script in &scripts {
            fill(database, script).map_err(|error| format!("{}: {error}", script.display()))?;
        }
        environment.insert("MYSQL_URL", database.url(""));
    }
    let line = serde_json::to_string(&environment).map_err(|error| error.to_string())?;
    println!("{line}");
    io::stdin()
        .read_to_end(&mut Vec::new())
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Runs a file of SQL.
fn fill(database: &MariaDb, script: &Path) -> Result<(), String> {
    let script = fs::read_to_string(script).map_err(|error| error.to_string())?;
    database.try_sql(&script).map(drop)
}

/// Puts all files of a folder into a bucket, under their paths in it.
fn put(s3: &AwsServer, bucket: &str, folder: &Path) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key = path.strip_prefix(folder).map_err(io::Error::other)?;
            s3.put(bucket, &key.to_string_lossy(), fs::read(&path)?);
        }
    }
    Ok(())
}
