//! Our side: the release build of the `tidegate` program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::data::Form;
use crate::program::{Build, Program};

/// The columns, as the rivals are told them too.
const COLUMNS: &str = r#"
    { name = "id", type = "int64" },
    { name = "user_id", type = "int64" },
    { name = "session", type = "string" },
    { name = "country", type = "string" },
    { name = "product", type = "string" },
    { name = "amount", type = "decimal(12,2)" },
    { name = "quantity", type = "int32" },
    { name = "score", type = "float64" },
    { name = "active", type = "bool" },
    { name = "created_at", type = "timestamp" },
    { name = "comment", type = "string" },
"#;

/// The pipeline from a file to a directory.
fn to_parquet(source: &str, url: &str, level: u32) -> String {
    format!(
        "name = \"bench\"\n\
         [sources.rows]\n\
         type = \"files\"\n\
         url = '{source}'\n\
         schema = [{COLUMNS}]\n\
         [sinks.lake]\n\
         type = \"parquet\"\n\
         inputs = [\"rows\"]\n\
         url = '{url}'\n\
         compression_level = {level}\n"
    )
}

/// The program.
#[derive(Debug)]
pub(super) struct Tidegate {
    program: PathBuf,
}

impl Tidegate {
    /// Takes the program that is given, or builds it.
    pub(super) fn new(program: &Program) -> Result<Self> {
        let program = program.find(Build::Release)?;
        Ok(Self { program })
    }

    /// Runs a pipeline.
    pub(super) fn run(&self, pipeline: &Path, state: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["run", "--quiet", "--state"]).arg(state);
        command.arg(pipeline);
        command
    }

    /// Turns a file into Parquet in `directory/out`.
    pub(super) fn convert(
        &self,
        form: Form,
        source: &Path,
        directory: &Path,
        level: u32,
    ) -> Result<Command> {
        let source = source
            .to_str()
            .context("the cache directory's name is not UTF-8")?;
        let pipeline = directory.join(format!("{}.toml", form.name()));
        fs::write(&pipeline, to_parquet(source, "out", level))?;
        Ok(self.run(&pipeline, &directory.join(".state")))
    }

    /// Turns the NDJSON into Parquet at an `s3://` url; pipeline and state lie in `directory`.
    pub(super) fn upload(
        &self,
        source: &Path,
        url: &str,
        directory: &Path,
        level: u32,
    ) -> Result<Command> {
        let source = source
            .to_str()
            .context("the cache directory's name is not UTF-8")?;
        let pipeline = directory.join("upload.toml");
        fs::write(&pipeline, to_parquet(source, url, level))?;
        Ok(self.run(&pipeline, &directory.join(".state")))
    }

    /// Turns a table of MySQL into Parquet in `directory/out`; `keys` are further ones of the source.
    pub(super) fn extract(
        &self,
        url: &str,
        table: &str,
        keys: &[String],
        directory: &Path,
        level: u32,
    ) -> Result<Command> {
        let pipeline = directory.join("extract.toml");
        let text = format!(
            "name = \"bench\"\n\
             [sources.shop]\n\
             type = \"mysql\"\n\
             url = \"{url}\"\n\
             tables = [\"{table}\"]\n\
             [sinks.lake]\n\
             type = \"parquet\"\n\
             inputs = [\"shop\"]\n\
             url = \"out\"\n\
             compression_level = {level}\n"
        );
        fs::write(&pipeline, text)?;
        let mut command = self.run(&pipeline, &directory.join(".state"));
        for key in keys {
            command.arg("--set").arg(format!("sources.shop.{key}"));
        }
        Ok(command)
    }

    /// Runs a query; its rows go to a CSV file.
    pub(super) fn query(&self, sql: &str, output: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["query", "--quiet", sql, "--format", "csv", "--output"]);
        command.arg(output);
        command
    }

    /// Runs a query; its rows go to a Parquet file.
    pub(super) fn query_to_parquet(&self, sql: &str, output: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["query", "--quiet", sql, "--output"])
            .arg(output);
        command
    }

    /// What is quickest: telling what it has.
    pub(super) fn list(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("list");
        command
    }
}
