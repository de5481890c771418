//! `cargo xtask bench`: how fast Tidegate is, beside others, on this machine.
//!
//! A figure is the median of several rounds in which all sides take turns; each side is a process
//! of its own, and its rows are counted at the far end.

mod data;
mod files;
mod hostile;
mod ingest;
mod kinesis;
mod lake;
mod measure;
mod mysql;
mod post;
mod request;
mod rivals;
mod sides;
mod site;
mod sql;
mod tidegate;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Measure Tidegate beside others
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Files(files::Files),
    Hostile(hostile::Hostile),
    Ingest(ingest::Ingest),
    Kinesis(kinesis::Kinesis),
    #[command(hide = true)]
    KinesisAnswers(kinesis::Answers),
    Lake(lake::Lake),
    Mysql(mysql::Mysql),
    Post(post::Post),
    Sql(sql::Sql),
}

impl Bench {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.what {
            What::Files(files) => files.run(),
            What::Hostile(hostile) => hostile.run(),
            What::Ingest(ingest) => ingest.run(),
            What::Kinesis(kinesis) => kinesis.run(),
            What::KinesisAnswers(answers) => answers.run(),
            What::Lake(lake) => lake.run(),
            What::Mysql(mysql) => mysql.run(),
            What::Post(post) => post.run(),
            What::Sql(sql) => sql.run(),
        }
    }
}
