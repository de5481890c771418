//! A pipeline's ends, played by hand.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::SchemaRef;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use tidegate_core::{
    Ask, Cancel, Commit, ComponentId, Context, Decoded, Epoch, Event, Host, Input, Journal,
    KeyValue, Lineage, Metrics, Offset, Plan, PlanState, Prepared, Recovery, Registry, Rejected,
    Result, Rows, RunId, Scan, Sink, SinkContext, Source, Split, Token, async_trait,
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

pub(crate) fn context(base: &Path) -> Context {
    Context {
        id: ComponentId::new("files").unwrap(),
        pipeline: "test".into(),
        lineage: Lineage::new(),
        run: RunId::new(),
        executor: 0,
        base: base.into(),
        parallelism: 2,
        memory: 64 << 20,
        scratch: base.into(),
        spill: u64::MAX,
        store: Arc::new(NoStore),
        shared: Arc::new(NoStore),
        cancel: Cancel::never(),
        metrics: Arc::new(Metrics::default()),
        settings: Arc::default(),
        registry: Arc::new(Registry::linked().unwrap()),
        host: Host::default(),
    }
}

pub(crate) fn write(base: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = base.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

pub(crate) fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    let names: StringArray = ids
        .clone()
        .map(|id| Some(format!("name \"{id}\", of many")))
        .collect();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    RecordBatch::try_from_iter([("id", ids), ("name", Arc::new(names) as _)]).unwrap()
}

pub(crate) fn ndjson(ids: std::ops::Range<i64>) -> String {
    ids.map(|id| json!({"id": id, "name": format!("name {id}")}).to_string() + "\n")
        .collect()
}

pub(crate) fn csv(ids: std::ops::Range<i64>) -> String {
    let rows = ids.map(|id| format!("{id},\"a \"\"quoted\"\"\nname {id}\"\n"));
    "id,name\n".to_owned() + &rows.collect::<String>()
}

pub(crate) fn array(ids: std::ops::Range<i64>) -> String {
    let rows: Vec<_> = ids
        .map(|id| json!({"id": id, "name": format!("[{id}]")}).to_string())
        .collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

pub(crate) fn parquet(ids: std::ops::Range<i64>, group: usize) -> Vec<u8> {
    let batch = batch(ids);
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

pub(crate) async fn source(base: &Path, config: Value) -> Result<Arc<dyn Source>> {
    open_source("files", &context(base), config).await
}

pub(crate) async fn open_source(tag: &str, cx: &Context, config: Value) -> Result<Arc<dyn Source>> {
    let config = Registry::linked()?.source(tag, config)?;
    config.validate()?;
    config.open(cx).await
}

pub(crate) async fn plan(
    source: &Arc<dyn Source>,
    state: Option<&PlanState>,
    first: bool,
) -> Result<Plan> {
    let scans = [Scan::all("rows")];
    let ask = Ask {
        scans: &scans,
        state,
        finished: &[],
        first,
    };
    source.plan(&ask).await
}

/// An event's rows, decoded as a worker does, and where to resume after it.
pub(crate) async fn read(
    source: &Arc<dyn Source>,
    split: &Split,
    scan: &Scan,
    resume: Option<&Offset>,
) -> Result<Vec<(Decoded, Offset)>> {
    let mut events = source
        .read(split, std::slice::from_ref(scan), resume)
        .await?;
    let mut all = Vec::new();
    while let Some(event) = events.next().await {
        let Event::Rows {
            rows: Rows::Encoded(rows),
            resume,
            ..
        } = event?
        else {
            panic!("another event");
        };
        assert!(rows.size() > 0);
        all.push((rows.decode()?, resume.unwrap()));
    }
    Ok(all)
}

/// Everything that a source gives in a run: its rows, and what it rejects.
pub(crate) async fn read_all(source: &Arc<dyn Source>) -> Result<(Vec<RecordBatch>, Rejected)> {
    let (mut batches, mut rejected) = (Vec::new(), Rejected::default());
    for split in plan(source, None, true).await?.new {
        for (decoded, _) in read(source, &split, &Scan::all("rows"), None).await? {
            batches.extend(decoded.batches);
            rejected.extend(decoded.rejected);
        }
    }
    Ok((batches, rejected))
}

pub(crate) fn ids<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Vec<i64> {
    let of = |batch: &RecordBatch| {
        let column = batch.column_by_name("id").unwrap();
        column.as_primitive::<Int64Type>().values().to_vec()
    };
    batches.into_iter().flat_map(of).collect()
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
        let cx = SinkContext {
            common: context(dir.path()),
            inputs: vec![Input {
                name: "shop.sales".into(),
                schema,
            }],
            answers: false,
            journal: Arc::clone(&journal) as _,
        };
        Self {
            dir,
            journal,
            cx,
            config,
        }
    }

    pub(crate) async fn open(&self) -> Result<Arc<dyn Sink>> {
        self.opening().await
    }

    /// The same, for another process.
    pub(crate) fn opening(&self) -> impl Future<Output = Result<Arc<dyn Sink>>> + use<> {
        let (config, cx) = (self.config.clone(), self.cx.clone());
        async move {
            let config = Registry::linked()?.sink("files", config)?;
            config.validate()?;
            config.open(&cx).await
        }
    }

    pub(crate) fn commit<'a>(&'a self, prepared: &'a [Prepared]) -> Commit<'a> {
        Commit {
            pipeline: "test",
            lineage: self.cx.common.lineage,
            run: self.cx.common.run,
            epoch: Epoch(1),
            last: false,
            prepared,
        }
    }

    pub(crate) async fn recover(&self, sink: &Arc<dyn Sink>, keep: &[Prepared]) {
        let begun = self.journal.0.lock().unwrap().clone();
        let begun = &begun;
        sink.recover(&Recovery { keep, begun }).await.unwrap();
    }

    /// The names of all files, hidden ones too.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut directories = vec![self.dir.path().to_path_buf()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let name = path.strip_prefix(self.dir.path()).unwrap();
                    names.push(name.to_str().unwrap().to_owned());
                }
            }
        }
        names.sort();
        names
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }
}

/// Writes the batches of each writer, and seals their epoch.
pub(crate) async fn prepare(
    sink: &Arc<dyn Sink>,
    epoch: u64,
    batches: Vec<Vec<RecordBatch>>,
) -> Vec<Prepared> {
    let sealed = sealed(sink.as_ref(), epoch, batches).await.unwrap();
    assert!(sealed.rejected.is_empty());
    sealed.prepared
}
