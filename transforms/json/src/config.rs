//! The keys of `type = "json"`.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, NewColumns, Result, Transform, TransformConfig, TransformContext};
use tidegate_formats::SchemaSpec;

use crate::map::JsonMap;
use crate::sample;

/// Reads a column of JSON documents into typed columns.
///
/// Each row's document becomes a row; with `records`, each element of an array in it does. A row
/// that is no JSON, or whose values don't fit the schema, is rejected with the reason, and the
/// others go on. Keys that the schema doesn't name are ignored (but
/// see `on_new_columns`); those that are missing are NULL.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonConfig {
    /// The column of text or bytes that holds the documents. Default: the only such column of the
    /// input that is not in `keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The columns to read, in order. Needed unless there is a `sample`.
    #[serde(default, skip_serializing_if = "SchemaSpec::is_empty")]
    pub schema: SchemaSpec,
    /// A file with documents like those to come, JSON or NDJSON, compressed or not, from which the
    /// schema is learnt when the pipeline starts. All its columns may be NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<PathBuf>,
    /// What is done with keys of documents that the sample doesn't have: `ignore`, `reject` or
    /// `fail`. Default: `ignore`; where `schema` is given, keys that it doesn't name are ignored
    /// without a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_new_columns: Option<NewColumns>,
    /// Other columns of the input to carry along. They come first, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<String>,
    /// A JSON pointer, such as `"/items"`, to an array in the document whose elements are the
    /// rows. `""` is the document itself. A document without it gives no rows. Default: the
    /// document is the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<String>,
}

#[async_trait]
#[typetag::serde(name = "json")]
impl TransformConfig for JsonConfig {
    fn validate(&self) -> Result<()> {
        match (self.schema.is_empty(), &self.sample) {
            (true, None) => {
                return Err(Error::config("the columns to read are not known")
                    .hint("give a `schema`, or a `sample` file to learn it from"));
            }
            (false, Some(_)) => {
                return Err(Error::config("`schema` and `sample` are both given")
                    .hint("leave one out: a given schema is not learnt"));
            }
            (false, None) => drop(self.schema.to_arrow()?),
            (true, Some(_)) => {}
        }
        if self.on_new_columns == Some(NewColumns::Add) {
            return Err(Error::config("a transform can't add columns while it runs")
                .with("key", "on_new_columns")
                .hint("add documents that have them to the `sample`"));
        }
        if let Some(pointer) = &self.records
            && !pointer.is_empty()
            && !pointer.starts_with('/')
        {
            return Err(
                Error::config(format!("`records` is no JSON pointer: {pointer:?}"))
                    .hint(format!("did you mean \"/{}\"?", pointer.replace('.', "/"))),
            );
        }
        for (at, name) in self.keep.iter().enumerate() {
            if self.keep[..at].contains(name) || Some(name) == self.column.as_ref() {
                return Err(Error::config(format!(
                    "`keep` has `{name}`, which is there already"
                )));
            }
        }
        Ok(())
    }

    async fn open(&self, cx: &TransformContext) -> Result<Transform> {
        self.validate()?;
        let schema: SchemaRef = match &self.sample {
            None => self.schema.to_arrow()?,
            Some(path) => {
                let path = cx.common.path(path);
                let bytes = tokio::fs::read(&path).await.map_err(|error| {
                    Error::io("the sample can't be read", error).with("path", path.display())
                })?;
                sample::learn(&path.to_string_lossy(), bytes, self.records.as_deref())
                    .map_err(|error| error.with("sample", path.display()))?
            }
        };
        Ok(Transform::Map(Arc::new(JsonMap::new(
            self, schema, &cx.inputs,
        )?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: serde_json::Value) -> JsonConfig {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn mistakes_are_refused() {
        let schema = serde_json::json!([{ "name": "id", "type": "int64" }]);
        let good = config(serde_json::json!({ "schema": schema }));
        assert!(good.validate().is_ok());
        let hint = |config: JsonConfig| {
            config
                .validate()
                .unwrap_err()
                .hint_text()
                .unwrap_or_default()
                .to_owned()
        };
        assert!(hint(JsonConfig::default()).contains("`sample`"));
        assert!(
            hint(JsonConfig {
                sample: Some("a.json".into()),
                ..good.clone()
            })
            .contains("one")
        );
        let records = Some("data.items".into());
        assert!(
            hint(JsonConfig {
                records,
                ..good.clone()
            })
            .contains("\"/data/items\"")
        );
        let doubled = JsonConfig {
            column: Some("a".into()),
            keep: vec!["a".into()],
            ..good
        };
        assert!(doubled.validate().is_err());
    }

    #[derive(Debug)]
    struct NoStore;

    #[async_trait]
    impl tidegate_core::KeyValue for NoStore {
        async fn get(&self, _: &str) -> Result<Option<serde_json::Value>> {
            Ok(None)
        }

        async fn compare_and_set(
            &self,
            _: &str,
            _: Option<&serde_json::Value>,
            _: &serde_json::Value,
        ) -> Result<bool> {
            Ok(false)
        }
    }

    fn context(base: &std::path::Path) -> TransformContext {
        let body = arrow_schema::Field::new("body", arrow_schema::DataType::Utf8, true);
        TransformContext {
            common: tidegate_core::Context {
                id: tidegate_core::ComponentId::new("users").unwrap(),
                pipeline: "test".into(),
                lineage: tidegate_core::Lineage::new(),
                run: tidegate_core::RunId::new(),
                executor: 0,
                base: base.into(),
                parallelism: 1,
                memory: 1 << 20,
                scratch: base.into(),
                spill: u64::MAX,
                store: Arc::new(NoStore),
                shared: Arc::new(NoStore),
                cancel: tidegate_core::Cancel::never(),
                metrics: Arc::default(),
                settings: Arc::default(),
                registry: Arc::new(tidegate_core::Registry::linked().unwrap()),
                host: tidegate_core::Host::default(),
            },
            inputs: vec![tidegate_core::Input {
                name: "api.raw".into(),
                schema: Arc::new(arrow_schema::Schema::new(vec![body])),
            }],
        }
    }

    #[tokio::test]
    async fn the_schema_is_given_or_learnt_from_a_sample_beside_the_pipeline() {
        let directory = tempfile::tempdir().unwrap();
        let cx = context(directory.path());
        std::fs::write(
            directory.path().join("users.ndjson"),
            "{\"id\":1}\n{\"id\":2.5}\n",
        )
        .unwrap();
        let opened = config(serde_json::json!({ "sample": "users.ndjson" }))
            .open(&cx)
            .await
            .unwrap();
        assert_eq!(
            opened.schema().field(0).data_type(),
            &arrow_schema::DataType::Float64
        );
        assert_eq!(opened.scan(0).columns, Some(vec!["body".to_owned()]));
        assert!(opened.deterministic());
        let missing = config(serde_json::json!({ "sample": "nowhere.json" }))
            .open(&cx)
            .await;
        assert_eq!(
            missing.unwrap_err().kind(),
            tidegate_core::ErrorKind::NotFound
        );
        let schema = serde_json::json!([{ "name": "id", "type": "int64", "nullable": false }]);
        let opened = config(serde_json::json!({ "schema": schema }))
            .open(&cx)
            .await
            .unwrap();
        assert!(!opened.schema().field(0).is_nullable());
    }

    #[test]
    fn it_is_registered_under_the_tag_that_it_is_stored_with() {
        let registry = tidegate_core::Registry::linked().unwrap();
        let table = serde_json::json!({ "schema": [{ "name": "id", "type": "int64" }] });
        let parsed = registry.transform("json", table).unwrap();
        assert_eq!(serde_json::to_value(&parsed).unwrap()["type"], "json");
    }
}
