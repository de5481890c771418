//! Components with all that a configuration may have, registered as real ones are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    ByteSize, Error, Result, Secret, Sink, SinkConfig, SinkContext, Source, SourceConfig,
    SourceContext, Span, Transform, TransformConfig, TransformContext, async_trait, register_sink,
    register_source, register_transform,
};

fn never_opened<T>() -> Result<T> {
    Err(Error::internal("these components are only read"))
}

/// Files of a directory.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilesConfig {
    /// Where the files are: a path or a URL. Globs are allowed.
    url: String,
    /// How rows are written.
    format: Format,
    /// The table's name.
    table: Option<String>,
    /// How many rows make a batch.
    rows: Option<u32>,
    /// A share of the rows.
    sample: Option<f64>,
    /// Whether to wait for more.
    #[serde(default)]
    watch: bool,
    /// How often to look.
    every: Option<Span>,
    /// How much to read at once.
    #[serde(default)]
    chunk: ByteSize,
    /// How CSV is written.
    csv: Option<Csv>,
    /// The columns, in order.
    #[serde(default)]
    columns: Vec<Column>,
    /// From this day on.
    since: Option<String>,
    /// The password.
    password: Option<Secret>,
    /// One name or several.
    streams: Option<Names>,
}

/// How rows are written.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// One JSON value a line.
    Ndjson,
    /// Comma-separated values.
    Csv,
    Parquet,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Csv {
    /// Whether the first line names the columns.
    #[serde(default)]
    header: bool,
    /// What separates values.
    delimiter: Option<char>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Column {
    /// Its name.
    name: String,
    /// Its type.
    r#type: ColumnType,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ColumnType {
    Int,
    Text,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

#[async_trait]
#[typetag::serde(name = "files")]
impl SourceConfig for FilesConfig {
    fn validate(&self) -> Result<()> {
        match (&self.format, &self.csv) {
            (Format::Ndjson | Format::Parquet, Some(_)) => {
                Err(Error::config("CSV options need `format = \"csv\"`")
                    .with("key", "csv")
                    .hint("remove the table `csv`, or change the format"))
            }
            _ => Ok(()),
        }
    }

    async fn open(&self, _: &SourceContext) -> Result<Arc<dyn Source>> {
        never_opened()
    }
}
register_source!("files", FilesConfig);

/// Rows out of nothing.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GenerateConfig {
    /// How many.
    rows: Option<u64>,
    /// What is sent along.
    #[serde(default)]
    headers: BTreeMap<String, Sent>,
    /// What is sent.
    #[schemars(extend("x-secrets" = true))]
    body: Option<serde_json::Value>,
}

/// One text or several, or the name of a secret.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum Sent {
    Text(String),
    Texts(Vec<SentText>),
    Secret(Secret),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum SentText {
    Text(String),
    Secret(Secret),
}

#[async_trait]
#[typetag::serde(name = "generate")]
impl SourceConfig for GenerateConfig {
    async fn open(&self, _: &SourceContext) -> Result<Arc<dyn Source>> {
        never_opened()
    }
}
register_source!("generate", GenerateConfig);

/// A query.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlConfig {
    /// The text of the query.
    query: String,
}

#[async_trait]
#[typetag::serde(name = "sql")]
impl TransformConfig for SqlConfig {
    async fn open(&self, _: &TransformContext) -> Result<Transform> {
        never_opened()
    }
}
register_transform!("sql", SqlConfig);

/// Parquet files.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParquetConfig {
    /// Where the files go.
    url: String,
    /// How they are compressed.
    #[serde(default)]
    compression: Compression,
    /// The columns that make the directories.
    #[serde(default)]
    partition_by: Vec<String>,
    /// The table that the files belong to.
    catalog: Option<Catalog>,
    /// A name with leading zeros.
    account: Option<String>,
    /// How large files become.
    target_file_size: Option<ByteSize>,
    /// The key.
    api_key: Option<Secret>,
    /// A file of certificates.
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Compression {
    /// Small and fast.
    #[default]
    Zstd,
    Snappy,
    None,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Catalog {
    /// AWS Glue.
    Glue {
        /// The database.
        database: String,
        /// The table.
        table: String,
    },
    /// A directory.
    Local {
        /// The directory.
        path: PathBuf,
    },
}

#[async_trait]
#[typetag::serde(name = "parquet")]
impl SinkConfig for ParquetConfig {
    async fn open(&self, _: &SinkContext) -> Result<Arc<dyn Sink>> {
        never_opened()
    }
}
register_sink!("parquet", ParquetConfig);

/// The screen.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsoleConfig {
    /// How many rows are shown.
    #[serde(default)]
    rows: u8,
}

#[async_trait]
#[typetag::serde(name = "console")]
impl SinkConfig for ConsoleConfig {
    async fn open(&self, _: &SinkContext) -> Result<Arc<dyn Sink>> {
        never_opened()
    }
}
register_sink!("console", ConsoleConfig);

/// The settings that the tests know.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct HttpSettings {
    /// How long to wait.
    timeout: Option<String>,
    /// How often to try.
    retries: Option<u32>,
    /// The proxy.
    proxy: Option<String>,
}

tidegate_core::register_settings!("http", HttpSettings);

/// Others.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct AwsSettings {
    /// The region.
    region: Option<String>,
    /// The account's number, which is a text.
    account: Option<String>,
}

tidegate_core::register_settings!("aws", AwsSettings);
