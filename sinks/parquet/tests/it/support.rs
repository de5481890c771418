//! A pipeline's end, played by hand.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tidegate_core::{
    Cancel, Commit, ComponentId, Context, Epoch, Host, Input, Journal, KeyValue, Lineage, Metrics,
    Prepared, Recovery, Registry, Result, RunId, Sink, SinkContext, Token, async_trait,
};
use tidegate_testkit::suites::sealed;

#[derive(Debug, Default)]
pub(crate) struct Begun(pub(crate) Mutex<Vec<Token>>);

#[async_trait]
impl Journal for Begun {
    async fn begin(&self, _epoch: Epoch, token: Token) -> Result<()> {
        self.0.lock().unwrap().push(token);
        Ok(())
    }
}

#[derive(Debug)]
struct NoStore;

#[async_trait]
impl KeyValue for NoStore {
    async fn get(&self, _key: &str) -> Result<Option<Value>> {
        Ok(None)
    }
    async fn compare_and_set(&self, _: &str, _: Option<&Value>, _: &Value) -> Result<bool> {
        Ok(false)
    }
}

/// A sink in a directory of its own, with what the runtime would hold.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) journal: Arc<Begun>,
    pub(crate) cx: SinkContext,
    config: Value,
}

impl Bench {
    pub(crate) fn new(config: Value, schema: SchemaRef) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = Arc::new(Begun::default());
        let mut whole = json!({ "url": "out" });
        whole
            .as_object_mut()
            .unwrap()
            .extend(config.as_object().unwrap().clone());
        let common = Context {
            id: ComponentId::new("lake").unwrap(),
            pipeline: "test".into(),
            lineage: Lineage::new(),
            run: RunId::new(),
            executor: 0,
            base: dir.path().into(),
            parallelism: 2,
            memory: 64 << 20,
            scratch: dir.path().into(),
            spill: u64::MAX,
            store: Arc::new(NoStore),
            shared: Arc::new(NoStore),
            cancel: Cancel::never(),
            metrics: Arc::new(Metrics::default()),
            settings: Arc::default(),
            registry: Arc::new(Registry::linked().unwrap()),
            host: Host::default(),
        };
        let cx = SinkContext {
            common,
            inputs: vec![Input {
                name: "in".into(),
                schema,
            }],
            answers: false,
            journal: Arc::clone(&journal) as _,
        };
        Self {
            dir,
            journal,
            cx,
            config: whole,
        }
    }

    pub(crate) async fn open(&self) -> Result<Arc<dyn Sink>> {
        self.opening().await
    }

    /// The same, for another process.
    pub(crate) fn opening(&self) -> impl Future<Output = Result<Arc<dyn Sink>>> + use<> {
        let (config, cx) = (self.config.clone(), self.cx.clone());
        async move {
            let config = Registry::linked()?.sink("parquet", config)?;
            config.validate()?;
            config.open(&cx).await
        }
    }

    /// The sink as it is opened for replaying commits.
    pub(crate) async fn reopen(&self) -> Arc<dyn Sink> {
        let registry = Registry::linked().unwrap();
        let config = registry.sink("parquet", self.config.clone()).unwrap();
        let cx = SinkContext {
            inputs: Vec::new(),
            ..self.cx.clone()
        };
        config.open(&cx).await.unwrap()
    }

    pub(crate) fn out(&self) -> std::path::PathBuf {
        self.dir.path().join("out")
    }

    pub(crate) fn commit<'a>(&'a self, epoch: u64, prepared: &'a [Prepared]) -> Commit<'a> {
        Commit {
            pipeline: "test",
            lineage: self.cx.common.lineage,
            run: self.cx.common.run,
            epoch: Epoch(epoch),
            last: false,
            prepared,
        }
    }

    pub(crate) async fn recover(&self, sink: &dyn Sink, keep: &[Prepared]) {
        let begun = self.journal.0.lock().unwrap().clone();
        let recovery = Recovery {
            keep,
            begun: &begun,
        };
        sink.recover(&recovery).await.unwrap();
    }
}

/// Writes the batches of each writer, all writers at once, and seals their epoch.
pub(crate) async fn prepare(
    sink: &Arc<dyn Sink>,
    epoch: u64,
    batches: Vec<Vec<RecordBatch>>,
) -> Result<Vec<Prepared>> {
    let sealed = sealed(sink.as_ref(), epoch, batches).await?;
    assert!(sealed.rejected.is_empty());
    Ok(sealed.prepared)
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("kind", DataType::Utf8, true),
    ]))
}

pub(crate) fn rows(ids: std::ops::Range<i64>, kind: impl Fn(i64) -> Option<String>) -> RecordBatch {
    let kinds: StringArray = ids.clone().map(kind).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(kinds)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Every file under a directory with its bytes' owner: hidden ones too, directories ending in `/`.
pub(crate) fn tree(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                names.push(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    names.sort();
    names
}

pub(crate) fn visible(root: &Path) -> Vec<String> {
    let mut names = tree(root);
    names.retain(|name| !name.split('/').any(|part| part.starts_with('.')));
    names
}

pub(crate) fn read(path: &Path) -> Vec<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    builder
        .build()
        .unwrap()
        .map(|batch| batch.unwrap())
        .collect()
}

/// The ids in each visible directory, sorted.
pub(crate) fn ids(root: &Path) -> BTreeMap<String, Vec<i64>> {
    let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for name in visible(root) {
        let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
        let ids = found.entry(directory.to_owned()).or_default();
        for batch in read(&root.join(&name)) {
            let column = batch.column_by_name("id").unwrap();
            let column = column.as_any().downcast_ref::<Int64Array>().unwrap();
            ids.extend(column.values());
        }
    }
    found.values_mut().for_each(|ids| ids.sort_unstable());
    found
}
