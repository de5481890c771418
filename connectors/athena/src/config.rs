use std::collections::BTreeSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_aws::AwsSettings;
use tidegate_core::{
    Error, Result, Source, SourceConfig, SourceContext, Span, StreamName, async_trait, typetag,
};

use crate::source::AthenaSource;
use crate::start::Start;
use crate::statement::Statement;
use crate::{Athena, AthenaSettings};

/// Reads the result of a query that Amazon Athena runs.
///
/// The query is run once in each run, as it stands. Its columns are found out before, by the same
/// query with `LIMIT 0`, which reads no data. What isn't set here is taken from `[athena]` in
/// `tidegate.toml`.
///
/// Athena keeps the result, so a run that was interrupted resumes where it was, without running the
/// query again. It gives a result in pages of 1,000 rows, one after the other: for millions of rows
/// it is faster to let Athena `UNLOAD` them as Parquet and to read the files.
///
/// Columns are typed as Athena types them. Timestamps with a time zone are turned into UTC. `array`,
/// `map`, `row` and `json` come as text: `CAST(column AS json)` and `json_format` make JSON of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AthenaConfig {
    /// The query, in Athena's SQL: one `SELECT`, `WITH … SELECT` or `VALUES`. At most 262,144 bytes.
    pub query: String,

    /// The name of the stream.
    #[serde(default = "default_stream")]
    pub stream: String,

    /// The database of tables that are named without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,

    /// The data catalog of databases that are named without one. Default: `AwsDataCatalog`, which
    /// is Glue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,

    /// The directory for Athena's own result files: `"s3://my-bucket/athena-results"`. Not needed if
    /// the workgroup has one. Athena leaves its files there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,

    /// The workgroup. Its own settings may come before these. Default: `primary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workgroup: Option<String>,

    /// How old a result of the very same query may be to be given again instead of running it:
    /// `"60m"`, in whole minutes, at most 7 days. Such a result costs nothing and may be stale:
    /// Athena doesn't look whether the tables have changed. Default: the query is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Span>,

    /// How AWS is reached, where it differs from `[aws]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSettings>,
}

fn default_stream() -> String {
    "rows".to_owned()
}

impl AthenaConfig {
    /// What is set here, as settings.
    fn settings(&self) -> AthenaSettings {
        AthenaSettings {
            workgroup: self.workgroup.clone(),
            database: self.database.clone(),
            catalog: self.catalog.clone(),
            output: self.output.clone(),
            reuse: self.reuse,
            price_per_tb: None,
            aws: self.aws.clone(),
        }
    }

    fn statement(&self) -> Result<Statement> {
        let statement =
            Statement::parse(&self.query).map_err(|error| error.with("key", "query"))?;
        if !statement.is_query() {
            return Err(Error::config("`query` is not a query")
                .with("key", "query")
                .hint("a source reads: write one SELECT, WITH … SELECT or VALUES"));
        }
        // Longer than the query, and asked first.
        statement
            .probe()
            .map_err(|error| error.with("key", "query"))?;
        Ok(statement)
    }
}

#[async_trait]
#[typetag::serde(name = "athena")]
impl SourceConfig for AthenaConfig {
    fn validate(&self) -> Result<()> {
        self.statement()?;
        if self.stream == StreamName::REJECTED || self.stream.trim().is_empty() {
            return Err(
                Error::config(format!("a stream can't be named `{}`", self.stream))
                    .with("key", "stream"),
            );
        }
        self.settings().validate()
    }

    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        let statement = self.statement()?;
        let settings = AthenaSettings::of(cx, self.settings())?;
        let start = Start::new(&cx.store, cx.run, &statement, &settings)?;
        let athena = Athena::open(cx, settings).await?;
        let columns = athena.columns(&statement, &cx.cancel).await;
        // Of a probe that was stopped on the way; otherwise there is nothing to wait for.
        athena.close().await;
        let schema = columns?;
        let mut names = BTreeSet::new();
        if let Some(twice) = schema
            .fields()
            .iter()
            .find(|field| !names.insert(field.name()))
        {
            return Err(Error::schema(format!(
                "the query has two columns named `{}`",
                twice.name()
            ))
            .with("key", "query")
            .hint("give one of them another name with AS"));
        }
        let stream = self.stream.as_str().into();
        Ok(Arc::new(AthenaSource::new(
            athena, statement, start, stream, schema,
        )))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use serde_json::json;
    use tidegate_core::ErrorKind;

    use super::*;

    fn refusal(mut keys: serde_json::Value) -> (ErrorKind, String) {
        keys.as_object_mut()
            .unwrap()
            .entry("query")
            .or_insert("SELECT 1 AS a".into());
        let config: AthenaConfig = serde_json::from_value(keys).unwrap();
        let error = config.validate().unwrap_err();
        (error.kind(), format!("{error:?}"))
    }

    #[test]
    fn what_can_be_refused_is_refused_without_asking_athena() {
        for (keys, words) in [
            (json!({ "query": "" }), "no SQL statement"),
            (json!({ "query": "DROP TABLE t" }), "not a query"),
            (json!({ "query": "SELECT 1; SELECT 2" }), "more than one"),
            (
                json!({ "query": format!("SELECT '{}'", "a".repeat(262_144)) }),
                "262144",
            ),
            (json!({ "stream": "rejected" }), "`rejected`"),
            (json!({ "output": "my-bucket" }), "s3://"),
            (json!({ "reuse": "90s" }), "whole"),
            (json!({ "reuse": "8days" }), "7 days"),
            (json!({ "workgroup": "" }), "`workgroup` is empty"),
        ] {
            let (kind, text) = refusal(keys.clone());
            assert_eq!(kind, ErrorKind::Config, "{keys}");
            assert!(text.contains(words), "{text}");
        }
    }
}
