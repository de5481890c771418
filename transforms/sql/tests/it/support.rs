//! Tables in memory, and transforms opened over them.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::pretty::pretty_format_batches;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tidegate_core::{
    BatchStream, Cancel, ComponentId, Context, Error, ErrorKind, Gather, Gathered, Host, Input,
    KeyValue, Kind, Lineage, Registry, Result, RunId, StageInput, Streamed, Transform,
    TransformContext,
};

/// Rows of one table, dealt out to partitions.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub(crate) name: &'static str,
    pub(crate) schema: SchemaRef,
    pub(crate) partitions: Vec<Vec<RecordBatch>>,
}

impl Memory {
    pub(crate) fn new(name: &'static str, batch: RecordBatch) -> Self {
        Self {
            name,
            schema: batch.schema(),
            partitions: vec![vec![batch]],
        }
    }

    /// In two partitions, of batches of `rows`.
    pub(crate) fn spread(mut self, rows: usize) -> Self {
        let all = self.batch();
        self.partitions = vec![Vec::new(), Vec::new()];
        for (i, start) in (0..all.num_rows()).step_by(rows).enumerate() {
            self.partitions[i % 2].push(all.slice(start, rows.min(all.num_rows() - start)));
        }
        self
    }

    pub(crate) fn batch(&self) -> RecordBatch {
        self.partitions[0][0].clone()
    }
}

impl Gathered for Memory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn rows(&self) -> u64 {
        self.partitions
            .iter()
            .flatten()
            .map(|batch| batch.num_rows() as u64)
            .sum()
    }

    fn bytes(&self) -> u64 {
        self.partitions
            .iter()
            .flatten()
            .map(|batch| tidegate_core::batch_bytes(batch) as u64)
            .sum()
    }

    fn partitions(&self) -> usize {
        self.partitions.len()
    }

    fn open(&self, partition: usize) -> Result<BatchStream> {
        let batches = self.partitions[partition].clone();
        Ok(stream::iter(batches).map(Ok).boxed())
    }
}

#[derive(Debug)]
struct NoStore;

#[async_trait::async_trait]
impl KeyValue for NoStore {
    async fn get(&self, _: &str) -> Result<Option<Value>> {
        Ok(None)
    }

    async fn compare_and_set(&self, _: &str, _: Option<&Value>, _: &Value) -> Result<bool> {
        Ok(true)
    }
}

pub(crate) fn context(inputs: Vec<Input>, scratch: &Path) -> TransformContext {
    TransformContext {
        common: Context {
            id: ComponentId::new("weekly").unwrap(),
            pipeline: "test".into(),
            lineage: Lineage::new(),
            run: RunId::new(),
            executor: 0,
            base: Path::new(".").into(),
            parallelism: 2,
            memory: 256 << 20,
            scratch: scratch.into(),
            spill: u64::MAX,
            store: Arc::new(NoStore),
            shared: Arc::new(NoStore),
            cancel: Cancel::never(),
            metrics: Arc::default(),
            settings: Arc::default(),
            registry: Arc::new(Registry::linked().unwrap()),
            host: Host::default(),
        },
        inputs,
    }
}

/// Opens a `sql` transform as a pipeline file would, over the columns of these tables.
pub(crate) async fn open_with(keys: Value, tables: &[Memory], scratch: &Path) -> Result<Transform> {
    open_within(keys, tables, scratch, u64::MAX).await
}

/// The same, with this much of the disk.
pub(crate) async fn open_within(
    keys: Value,
    tables: &[Memory],
    scratch: &Path,
    spill: u64,
) -> Result<Transform> {
    use tidegate_transform_sql as _;
    let config = Registry::linked()?.transform("sql", keys)?;
    assert_eq!(
        Registry::linked()?.tags(Kind::Transform),
        ["sql"],
        "the transform is registered"
    );
    config.validate()?;
    let inputs = tables
        .iter()
        .map(|table| Input {
            name: table.name.into(),
            schema: Arc::clone(&table.schema),
        })
        .collect();
    let mut cx = context(inputs, scratch);
    cx.common.spill = spill;
    config.open(&cx).await
}

pub(crate) async fn open(query: &str, tables: &[Memory]) -> Result<Transform> {
    let nowhere = Path::new("/nonexistent");
    open_with(json!({ "query": query }), tables, nowhere).await
}

pub(crate) async fn open_error(query: &str, tables: &[Memory]) -> Error {
    match open(query, tables).await {
        Ok(opened) => panic!("{query} opened as {opened:?}"),
        Err(error) => error,
    }
}

/// What a query that can't be opened is told: `line:column message | hint`.
pub(crate) async fn told_of(query: &str, tables: &[Memory]) -> String {
    let error = open_error(query, tables).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    let place: Vec<_> = ["line", "column"]
        .iter()
        .filter_map(|key| error.context().iter().find(|(name, _)| name == key))
        .map(|(_, value)| value.as_str())
        .collect();
    let hint = error
        .hint_text()
        .map(|hint| format!(" | {hint}"))
        .unwrap_or_default();
    format!("{} {}{hint}", place.join(":"), error.message())
        .trim()
        .to_owned()
}

/// Runs a query over the tables, whichever kind it is; each batch has the schema that was told.
pub(crate) async fn run(query: &str, tables: &[Memory]) -> Result<Vec<RecordBatch>> {
    run_with(json!({ "query": query }), tables).await
}

pub(crate) async fn run_with(keys: Value, tables: &[Memory]) -> Result<Vec<RecordBatch>> {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path().join("made/on/first/use");
    let transform = open_with(keys, tables, &scratch).await?;
    let mut batches = Vec::new();
    match &transform {
        Transform::Map(map) => {
            for (input, table) in tables.iter().enumerate() {
                for batch in table.partitions.iter().flatten() {
                    let mapped = map.map(input, batch)?;
                    assert!(mapped.rejected.is_empty(), "{:?}", mapped.rejected);
                    batches.extend(mapped.batches);
                }
            }
        }
        Transform::Gather(gather) => {
            batches = gathered(gather, tables, None).await?;
            // Rows that come while the query runs make no difference.
            let streams = (0..tables.len()).filter(|input| gather.streams(*input));
            for input in streams.filter(|_| gather.deterministic()) {
                let streamed = gathered(gather, tables, Some(input)).await?;
                if !batches.is_empty() || !streamed.is_empty() {
                    assert_eq!(lines(&batches), lines(&streamed), "input {input} comes");
                }
            }
        }
        other => panic!("{other:?}"),
    }
    for batch in &batches {
        assert_eq!(batch.schema(), transform.schema());
    }
    Ok(batches)
}

/// Runs a stage, all partitions at once, each on a task of its own.
pub(crate) async fn gathered(
    gather: &Arc<dyn Gather>,
    tables: &[Memory],
    streamed: Option<usize>,
) -> Result<Vec<RecordBatch>> {
    let inputs = tables.iter().enumerate().map(|(input, table)| {
        // The runtime gathers no more than was asked for.
        let scan = gather.scan(input);
        let mut table = table.clone();
        for batch in table.partitions.iter_mut().flatten() {
            *batch = scan.project(batch.clone()).unwrap();
        }
        table.schema = scan.schema(&table.schema).unwrap();
        match streamed == Some(input) {
            true => StageInput::Streamed(Arc::new(Coming::new(&table))),
            false => StageInput::Collected(Arc::new(table)),
        }
    });
    let streams = gather.run(inputs.collect()).await?;
    let running: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::spawn(stream.try_collect::<Vec<_>>()))
        .collect();
    let mut batches = Vec::new();
    for partition in running {
        batches.extend(partition.await.unwrap()?);
    }
    Ok(batches)
}

/// Rows of a table as they come: to whichever partition asks first, and only once.
#[derive(Debug)]
struct Coming {
    schema: SchemaRef,
    batches: Arc<Mutex<VecDeque<RecordBatch>>>,
    /// Of the first batch, which has come when the stage begins.
    rows: u64,
    bytes: u64,
    opened: Mutex<BTreeSet<usize>>,
}

impl Coming {
    fn new(table: &Memory) -> Self {
        let batches = table.partitions.iter().flatten().cloned();
        let first = table.partitions.iter().flatten().next();
        Self {
            rows: first.map_or(0, |batch| batch.num_rows() as u64),
            bytes: first.map_or(0, |batch| tidegate_core::batch_bytes(batch) as u64),
            schema: Arc::clone(&table.schema),
            batches: Arc::new(Mutex::new(batches.collect())),
            opened: Mutex::default(),
        }
    }
}

#[tidegate_core::async_trait]
impl Streamed for Coming {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    async fn begun(&self) {}

    fn partitions(&self) -> usize {
        2
    }

    fn open(&self, partition: usize) -> Result<BatchStream> {
        assert!(
            self.opened.lock().unwrap().insert(partition),
            "opened again"
        );
        let batches = Arc::clone(&self.batches);
        let coming = stream::unfold(batches, |batches| async {
            tokio::task::yield_now().await;
            let batch = batches.lock().unwrap().pop_front();
            batch.map(|batch| (Ok(batch), batches))
        });
        Ok(coming.boxed())
    }
}

/// The rows as text, one a line, sorted.
pub(crate) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines = ordered_lines(batches);
    lines.sort();
    lines
}

/// The rows as text, one a line.
pub(crate) fn ordered_lines(batches: &[RecordBatch]) -> Vec<String> {
    let table = pretty_format_batches(batches).unwrap().to_string();
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|').map(str::trim);
        cells.collect::<Vec<_>>().join(",")
    };
    table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(1)
        .map(cells)
        .collect()
}

/// A batch of named columns, all of which may be NULL.
pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

/// A table without rows.
pub(crate) fn columns(name: &'static str, fields: &[(&str, DataType)]) -> Memory {
    let fields: Vec<Field> = fields
        .iter()
        .map(|(name, data_type)| Field::new(*name, data_type.clone(), true))
        .collect();
    Memory::new(name, RecordBatch::new_empty(Arc::new(Schema::new(fields))))
}

/// Six orders of three customers.
pub(crate) fn orders() -> Memory {
    use arrow_array::{Date32Array, Decimal128Array, Int64Array, StringArray};
    let amounts = Decimal128Array::from(vec![1050, 2000, 0, 399, 12345, 700]);
    Memory::new(
        "shop.orders",
        batch(vec![
            ("id", Arc::new(Int64Array::from_iter_values(1..=6)) as _),
            (
                "userId",
                Arc::new(Int64Array::from(vec![1, 2, 1, 3, 2, 1])) as _,
            ),
            (
                "amount",
                Arc::new(amounts.with_precision_and_scale(38, 2).unwrap()) as _,
            ),
            (
                "qty",
                Arc::new(StringArray::from(vec!["1", "2", "0", "3", "x", "1"])) as _,
            ),
            (
                "day",
                Arc::new(Date32Array::from(vec![0, 1, 1, 2, 3, 3])) as _,
            ),
        ]),
    )
}

/// Customers 1 and 2.
pub(crate) fn users() -> Memory {
    use arrow_array::{Int64Array, StringArray};
    Memory::new(
        "users",
        batch(vec![
            ("id", Arc::new(Int64Array::from(vec![1, 2])) as _),
            ("name", Arc::new(StringArray::from(vec!["Ann", "Bob"])) as _),
        ]),
    )
}
