//! A source of numbers, transforms, and a two-phase sink, all in memory.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Acknowledged, Ask, BatchStream, Commit, CpuWriter, Delivery, Distribution, Epoch, Error,
    ErrorKind, Event, EventStream, FinishedSplit, Gather, Keep, Limits, Map, Mapped, Next, Offset,
    Origin, Plan, PlanState, Prepared, Recovery, Rejected, Replay, Result, Rows, Scan, Sealed,
    Sink, SinkBatch, SinkConfig, SinkContext, SinkEpoch, Source, SourceConfig, SourceContext,
    Split, SplitData, Spread, StageInput, Stream, Token, Transform, TransformConfig,
    TransformContext, Visibility, Writer, WriterId, async_trait, register_sink, register_source,
    register_transform, typetag,
};

use crate::world::{count, note, pass, strikes, with_acknowledged, with_place};

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

pub fn batch(numbers: Vec<i64>) -> RecordBatch {
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(numbers))]).unwrap()
}

fn numbers(batch: &RecordBatch) -> Vec<i64> {
    batch
        .column(0)
        .as_primitive::<Int64Type>()
        .values()
        .to_vec()
}

/// Numbers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumbersConfig {
    /// How many each split has.
    pub rows: i64,
    /// How many splits.
    #[serde(default = "one")]
    pub splits: i64,
    #[serde(default = "offset")]
    pub replay: String,
    /// Rows in an event.
    #[serde(default = "ten")]
    pub step: i64,
    /// Every k-th event has a position; the others have none.
    #[serde(default = "one")]
    pub resume_every: i64,
    /// Continues forever, a round of splits after the other.
    #[serde(default)]
    pub endless: bool,
    /// Each split waits for the one before.
    #[serde(default)]
    pub chained: bool,
    /// Pause after each event.
    #[serde(default)]
    pub pause_ms: u64,
    /// Announces another schema after this number.
    #[serde(default)]
    pub change_at: Option<i64>,
    /// Continues in each run where the last one ended.
    #[serde(default)]
    pub incremental: bool,
    /// Only tunes.
    #[serde(default)]
    pub tuning: i64,
    /// A fault: every read fails after a few events while it strikes.
    #[serde(default)]
    pub fault: Option<String>,
    /// What the fault says is then one of so many new columns, in turn.
    #[serde(default)]
    pub new_columns: u32,
    /// A fault of the source's code: `panic`, `stream` (its events name another one).
    #[serde(default)]
    pub broken: Option<String>,
    /// The gates `<gate>/plan` and `<gate>/read` are passed with each question and each event.
    #[serde(default)]
    pub gate: Option<String>,
    /// So many times are splits given, each time when those before have finished.
    #[serde(default = "one")]
    pub rounds: i64,
    /// The most splits that are read at once.
    #[serde(default)]
    pub limit: Option<NonZeroUsize>,
    #[serde(default)]
    pub listens: bool,
    /// The first event with which the gate is passed.
    #[serde(default)]
    pub gate_from: i64,
    /// After each event, asks for a checkpoint.
    #[serde(default)]
    pub requests: bool,
    /// Keeps something over attempts; `<name>/made` and `<name>/gone` are noted.
    #[serde(default)]
    pub keeps: Option<String>,
    /// Where what is acknowledged is noted; the fault of this name lets it fail.
    #[serde(default)]
    pub acknowledges: Option<String>,
    /// The fault of this name takes the first split back; so does `<name>/last` the last one.
    #[serde(default)]
    pub revokes: Option<String>,
    /// An error: all splits have one id.
    #[serde(default)]
    pub twins: bool,
}

impl NumbersConfig {
    async fn pass(&self, which: &str) {
        if let Some(gate) = &self.gate {
            pass(&format!("{gate}/{which}")).await;
        }
    }
}

/// How many new columns were told.
static TOLD: AtomicU32 = AtomicU32::new(0);

fn one() -> i64 {
    1
}
fn ten() -> i64 {
    10
}
fn offset() -> String {
    "offset".to_owned()
}

#[async_trait]
#[typetag::serde(name = "numbers")]
impl SourceConfig for NumbersConfig {
    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        let opened = format!("{}/{}/open", cx.pipeline, cx.id);
        count(&opened, 1);
        let mut kept = None;
        if let Some(name) = &self.keeps {
            let make = async || {
                note(&format!("{name}/made"));
                Ok(Socket(name.clone()))
            };
            kept = cx.keep("socket", make).await?;
            assert!(
                cx.keep("other", async || Ok(Other(5)))
                    .await?
                    .is_none_or(|other| other.0 == 5)
            );
        }
        Ok(Arc::new(Numbers(self.clone(), cx.clone(), kept)))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &["tuning"]
    }
}
register_source!("numbers", NumbersConfig);

/// What is kept over attempts.
#[derive(Debug)]
struct Socket(String);

struct Other(i32);

#[async_trait]
impl Keep for Socket {
    async fn end(&self) {
        note(&format!("{}/ended", self.0));
    }
}

impl Keep for Other {}

impl Drop for Socket {
    fn drop(&mut self) {
        note(&format!("{}/gone", self.0));
    }
}

#[derive(Debug)]
struct Numbers(NumbersConfig, SourceContext, Option<Arc<Socket>>);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    planned: i64,
    told: Vec<String>,
}

impl NumbersConfig {
    fn replay(&self) -> Replay {
        serde_json::from_value(self.replay.as_str().into()).unwrap()
    }
}

#[async_trait]
impl Source for Numbers {
    fn streams(&self) -> Vec<Stream> {
        vec![Stream {
            name: "all".into(),
            schema: schema(),
            key: Vec::new(),
            bounded: !self.0.endless,
            replay: self.0.replay(),
        }]
    }

    async fn close(&self) -> Result<()> {
        count(&format!("{}/{}/open", self.1.pipeline, self.1.id), -1);
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits {
            splits: self.0.limit,
            listens: self.0.listens,
        }
    }

    fn notes(&self) -> Vec<String> {
        let note = "counts without a stop".to_owned();
        Vec::from_iter((self.0.replay() == Replay::Session).then_some(note))
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        self.0.pass("plan").await;
        let mut known: Known = ask
            .state
            .map(PlanState::decode)
            .transpose()?
            .unwrap_or_default();
        if ask.first && !self.0.incremental {
            known = Known::default();
        }
        for FinishedSplit { split, .. } in ask.finished {
            assert!(!known.told.contains(&split.id.to_string()), "told twice");
            known.told.push(split.id.to_string());
        }
        let outstanding = known.planned > known.told.len() as i64 && !ask.first;
        let count = if outstanding && self.0.endless {
            0
        } else {
            self.0.splits
        };
        let rounds = self.0.splits * self.0.rounds;
        let next_round = !outstanding && known.planned < rounds;
        let count = if ask.first || self.0.endless || next_round {
            count
        } else {
            0
        };
        let mut new = Vec::new();
        for number in known.planned..known.planned + count {
            let id = if self.0.twins { 7 } else { number };
            let mut split = Split::new(id.to_string(), SplitData::encode(&number)?);
            if self.0.chained && number > known.planned {
                split.after = vec![(number - 1).to_string().into()];
            }
            new.push(split);
        }
        known.planned += count;
        let mut revoked = Vec::new();
        if let Some(name) = &self.0.revokes {
            if strikes(name) {
                revoked.push("0".into());
            }
            if strikes(&format!("{name}/last")) {
                revoked.push((self.0.splits - 1).to_string().into());
            }
        }
        let next = if self.0.endless {
            Next::AskAgain(Duration::from_millis(20))
        } else if known.planned < rounds
            || (rounds > self.0.splits && known.told.len() < rounds as usize)
        {
            Next::WhenFinished
        } else {
            Next::Complete
        };
        Ok(Plan {
            new,
            revoked,
            state: PlanState::encode(&known)?,
            next,
        })
    }

    async fn acknowledge(&self, upto: &[Acknowledged]) -> Result<()> {
        if let Some(place) = &self.0.acknowledges {
            if strikes(place) {
                return Err(Error::transient("the upstream doesn't listen"));
            }
            with_acknowledged(place, |told| told.extend_from_slice(upto));
        }
        Ok(())
    }

    async fn read(
        &self,
        split: &Split,
        _: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let number: i64 = split.data.decode()?;
        let from: i64 = resume.map(Offset::decode).transpose()?.unwrap_or(0);
        if let Some(name) = &self.0.keeps {
            assert_eq!(self.2.as_ref().map(|socket| &socket.0), Some(name));
        }
        let (config, cx) = (self.0.clone(), self.1.clone());
        let begin = number * config.rows;
        assert!(
            config.broken.as_deref() != Some("panic"),
            "the source is broken"
        );
        let stream = match config.broken.as_deref() {
            Some("stream") => "other",
            _ => "all",
        };
        let events = futures::stream::unfold((from, 0_i64), move |(at, count)| {
            let (config, cx) = (config.clone(), cx.clone());
            async move {
                if config.requests && count > 0 {
                    cx.request_cut();
                }
                if at >= config.rows {
                    return None;
                }
                if count >= config.gate_from {
                    config.pass("read").await;
                }
                if config.pause_ms > 0 {
                    tokio::time::sleep(Duration::from_millis(config.pause_ms)).await;
                }
                if count == 3 && config.fault.as_deref().is_some_and(strikes) {
                    let error = match config.new_columns {
                        0 => Error::transient("the numbers are gone"),
                        columns => {
                            let column = TOLD.fetch_add(1, Ordering::Relaxed) % columns;
                            let message = format!("the column `{column}` came up");
                            Error::new(ErrorKind::SchemaChanged, message)
                        }
                    };
                    return Some((Err(error), (config.rows, 0)));
                }
                if config
                    .change_at
                    .is_some_and(|change| change == at && count > 0)
                {
                    let fields = vec![
                        Field::new("n", DataType::Int64, false),
                        Field::new("m", DataType::Int64, true),
                    ];
                    let event = Event::Schema {
                        stream: "all".into(),
                        schema: Arc::new(Schema::new(fields)),
                        resume: Offset::encode(&at).unwrap(),
                    };
                    // Not announced again after a resume: count is 0 then.
                    return Some((Ok(event), (at, 0)));
                }
                let end = (at + config.step).min(config.rows);
                let index = at / config.step + 1;
                let has_position = index % config.resume_every == 0
                    && !matches!(config.replay(), Replay::Whole | Replay::Session);
                let event = Event::Rows {
                    stream: stream.into(),
                    rows: Rows::Batch(batch((begin + at..begin + end).collect())),
                    rejected: None,
                    resume: has_position.then(|| Offset::encode(&end).unwrap()),
                };
                Some((Ok(event), (end, count + 1)))
            }
        });
        Ok(events.boxed())
    }
}

/// Passes numbers, and rejects multiples.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SieveConfig {
    /// Multiples of this are rejected.
    pub reject: i64,
}

#[async_trait]
#[typetag::serde(name = "sieve")]
impl TransformConfig for SieveConfig {
    async fn open(&self, _: &TransformContext) -> Result<Transform> {
        Ok(Transform::Map(Arc::new(Sieve(self.reject))))
    }
}
register_transform!("sieve", SieveConfig);

#[derive(Debug)]
struct Sieve(i64);

impl Map for Sieve {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn scan(&self, _: usize) -> Scan {
        Scan {
            columns: Some(vec!["n".into()]),
            ..Scan::all("any")
        }
    }

    fn map(&self, _: usize, rows: &RecordBatch) -> Result<Mapped> {
        assert!(self.0 != 0, "the sieve is broken");
        let mut mapped = Mapped::default();
        let (bad, good) = numbers(rows).into_iter().partition(|n| n % self.0 == 0);
        let bad: Vec<i64> = bad;
        for n in bad {
            mapped
                .rejected
                .push(format!("{{\"n\":{n}}}"), "a multiple", Origin::default());
        }
        mapped.batches.push(batch(good));
        Ok(mapped)
    }
}

/// Makes several numbers of each, and drops some.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FanConfig {
    /// How many come of each.
    pub times: i64,
    /// Whether it may give others when it is asked again.
    #[serde(default)]
    pub random: bool,
}

#[async_trait]
#[typetag::serde(name = "fan")]
impl TransformConfig for FanConfig {
    async fn open(&self, _: &TransformContext) -> Result<Transform> {
        Ok(Transform::Map(Arc::new(Fan(self.clone()))))
    }
}
register_transform!("fan", FanConfig);

#[derive(Debug)]
struct Fan(FanConfig);

impl Map for Fan {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn deterministic(&self) -> bool {
        !self.0.random
    }

    fn scan(&self, _: usize) -> Scan {
        Scan::all("any")
    }

    fn map(&self, _: usize, rows: &RecordBatch) -> Result<Mapped> {
        let times = self.0.times;
        let kept = numbers(rows).into_iter().filter(|n| n % 7 != 0);
        let all: Vec<_> = kept
            .flat_map(|n| (0..times).map(move |k| n * times + k))
            .collect();
        // In several batches, as a decoder may give them.
        let batches = all.chunks(5).map(|part| batch(part.to_vec()));
        Ok(Mapped {
            batches: batches.collect(),
            ..Mapped::default()
        })
    }
}

/// Adds all numbers up.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SumConfig {
    #[serde(default)]
    pub scope: Option<String>,
    /// Passed before it begins.
    #[serde(default)]
    pub gate: Option<String>,
}

#[async_trait]
#[typetag::serde(name = "sum")]
impl TransformConfig for SumConfig {
    async fn open(&self, _: &TransformContext) -> Result<Transform> {
        Ok(Transform::Gather(Arc::new(Sum {
            epoch_scoped: self.scope.is_some(),
            gate: self.gate.clone(),
        })))
    }
}
register_transform!("sum", SumConfig);

#[derive(Debug)]
struct Sum {
    epoch_scoped: bool,
    gate: Option<String>,
}

#[async_trait]
impl Gather for Sum {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn scan(&self, _: usize) -> Scan {
        Scan {
            columns: Some(vec!["n".into()]),
            ..Scan::all("any")
        }
    }

    fn epoch_scoped(&self) -> bool {
        self.epoch_scoped
    }

    async fn run(&self, inputs: Vec<StageInput>) -> Result<Vec<BatchStream>> {
        let inputs = inputs.into_iter().map(StageInput::collected);
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        if let Some(gate) = &self.gate {
            pass(gate).await;
        }
        let mut sum = 0;
        let mut rows = 0;
        for input in &inputs {
            for partition in 0..input.partitions() {
                let mut stream = input.open(partition)?;
                while let Some(batch) = stream.next().await {
                    let found = numbers(&batch?);
                    rows += found.len() as u64;
                    sum += found.iter().sum::<i64>();
                }
            }
        }
        assert_eq!(rows, inputs.iter().map(|input| input.rows()).sum::<u64>());
        Ok(vec![futures::stream::iter([Ok(batch(vec![sum]))]).boxed()])
    }
}

/// A two-phase destination in memory.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceConfig {
    pub place: String,
    #[serde(default)]
    pub overwrite: bool,
    #[serde(default)]
    pub ordered: bool,
    #[serde(default)]
    pub hash: bool,
    /// Multiples of this are rejected when they are written, or late if negative.
    #[serde(default)]
    pub reject: Option<i64>,
    #[serde(default)]
    pub at_least_once: bool,
    /// What is rejected is given back with the next batch.
    #[serde(default)]
    pub reject_later: bool,
    /// Bytes a writer takes before another is opened.
    #[serde(default)]
    pub writer_bytes: u64,
    /// How long it isn't ready for more after a write.
    #[serde(default)]
    pub ready_ms: u64,
    /// How long a writer that doesn't panic takes to prepare.
    #[serde(default)]
    pub prepare_ms: u64,
}

#[async_trait]
#[typetag::serde(name = "place")]
impl SinkConfig for PlaceConfig {
    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        if strikes(&format!("{}/open", self.place)) {
            return Err(Error::transient("the destination doesn't answer"));
        }
        count(&format!("{}/open", self.place), 1);
        Ok(Arc::new(PlaceSink {
            config: self.clone(),
            cx: cx.clone(),
        }))
    }
}
register_sink!("place", PlaceConfig);

#[derive(Debug, Clone)]
struct PlaceSink {
    config: PlaceConfig,
    cx: SinkContext,
}

#[derive(Debug, Serialize, Deserialize)]
enum Value {
    File(String),
    Delete(Vec<String>),
}

#[async_trait]
impl Sink for PlaceSink {
    fn delivery(&self) -> Delivery {
        if self.config.at_least_once {
            Delivery::AtLeastOnce
        } else {
            Delivery::TwoPhase
        }
    }

    fn visibility(&self) -> Visibility {
        if self.config.overwrite {
            Visibility::Run
        } else {
            Visibility::Epoch
        }
    }

    fn distribution(&self, _: usize) -> Distribution {
        let spread = match (self.config.ordered, self.config.hash) {
            (true, _) => Spread::Single,
            (_, true) => Spread::Hash(vec!["n".into()]),
            _ => Spread::Any,
        };
        Distribution {
            spread,
            ordered: self.config.ordered,
        }
    }

    fn writer_bytes(&self) -> u64 {
        self.config.writer_bytes
    }

    async fn epoch(&self, id: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        Ok(Arc::new(PlaceEpoch {
            sink: self.clone(),
            id,
            runtime: tokio::runtime::Handle::current(),
            rows: Arc::default(),
            until: Arc::default(),
        }))
    }

    async fn conclude(&self, _: &[Prepared]) -> Result<Option<Prepared>> {
        let old = with_place(&self.config.place, |place| {
            place.visible.keys().cloned().collect()
        });
        Prepared::encode(&Value::Delete(old)).map(Some)
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        pass(&format!("{}/commit", self.config.place)).await;
        let fault = format!("{}/panic-commit", self.config.place);
        assert!(!strikes(&fault), "a commit is broken");
        if strikes(&format!("{}/commit", self.config.place)) {
            return Err(Error::transient("the destination doesn't answer"));
        }
        let mut delete = Vec::new();
        for value in commit.prepared {
            match value.decode()? {
                Value::Delete(keys) => delete = keys,
                Value::File(key) => with_place(&self.config.place, |place| {
                    if let Some(rows) = place.staged.remove(&key) {
                        place.visible.insert(key, rows);
                    } else if !place.visible.contains_key(&key) && !self.config.overwrite {
                        panic!("published something that is gone: {key}");
                    }
                }),
            }
        }
        with_place(&self.config.place, |place| {
            for key in delete {
                place.visible.remove(&key);
            }
            place.commits.push((commit.epoch.0, commit.last));
        });
        Ok(())
    }

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        let mut keep = Vec::new();
        for value in recovery.keep {
            if let Value::File(key) = value.decode()? {
                keep.push(key);
            }
        }
        for token in recovery.begun {
            let key: String = token.decode()?;
            if !keep.contains(&key) {
                with_place(&self.config.place, |place| {
                    place.staged.remove(&key);
                    place.discarded.insert(key);
                });
            }
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        count(&format!("{}/open", self.config.place), -1);
        Ok(())
    }
}

/// The rows of an epoch by the key that they get.
type Staged = Arc<Mutex<BTreeMap<String, Vec<i64>>>>;

#[derive(Debug)]
struct PlaceEpoch {
    sink: PlaceSink,
    id: Epoch,
    runtime: tokio::runtime::Handle,
    rows: Staged,
    until: Arc<Mutex<Option<Instant>>>,
}

impl PlaceEpoch {
    fn fault(&self, what: &str) -> bool {
        strikes(&format!("{}/{what}", self.sink.config.place))
    }
}

impl PlaceSink {
    /// As an upload: what was aborted can't be gone on with.
    fn stage(&self, key: &str, rows: Vec<i64>) -> Result<()> {
        with_place(&self.config.place, |place| {
            if place.discarded.contains(key) {
                return Err(Error::conflict("what was begun has been discarded"));
            }
            place.staged.insert(key.to_owned(), rows);
            Ok(())
        })
    }
}

#[async_trait]
impl SinkEpoch for PlaceEpoch {
    async fn writer(&self, id: WriterId) -> Result<Writer> {
        Ok(Writer::Cpu(Box::new(PlaceWriter {
            sink: self.sink.clone(),
            runtime: self.runtime.clone(),
            rows: Arc::clone(&self.rows),
            until: Arc::clone(&self.until),
            key: format!(
                "{}-{id}-{}",
                self.sink.cx.common.run.short(),
                rand::random::<u32>()
            ),
            epoch: self.id,
            begun: false,
            rejected: Rejected::default(),
        })))
    }

    async fn ready(&self) {
        let until = *self.until.lock().unwrap();
        if let Some(until) = until {
            tokio::time::sleep_until(until.into()).await;
        }
    }

    async fn seal(&self) -> Result<Sealed> {
        if self.fault("prepare") {
            return Err(Error::transient("the disk is slow"));
        }
        let late = self.sink.config.reject.filter(|&k| k < 0);
        let mut sealed = Sealed::default();
        for (key, rows) in std::mem::take(&mut *self.rows.lock().unwrap()) {
            let (bad, good): (Vec<i64>, Vec<i64>) = rows
                .into_iter()
                .partition(|n| late.is_some_and(|k| n % k == 0));
            for n in bad {
                let row = format!("{{\"n\":{n}}}");
                let origin = Origin::default();
                sealed.rejected.push(row, "a late multiple", origin);
            }
            self.sink.stage(&key, good)?;
            sealed.prepared.push(Prepared::encode(&Value::File(key))?);
        }
        Ok(sealed)
    }

    async fn abandon(&self) {
        let keys: Vec<_> = self.rows.lock().unwrap().keys().cloned().collect();
        with_place(&self.sink.config.place, |place| {
            for key in keys {
                place.staged.remove(&key);
            }
        });
    }
}

struct PlaceWriter {
    sink: PlaceSink,
    runtime: tokio::runtime::Handle,
    rows: Staged,
    until: Arc<Mutex<Option<Instant>>>,
    key: String,
    epoch: Epoch,
    begun: bool,
    /// Of earlier batches.
    rejected: Rejected,
}

impl CpuWriter for PlaceWriter {
    fn write(&mut self, batch: SinkBatch) -> Result<Rejected> {
        let batch = batch.rows;
        if !self.begun {
            let journal = &self.sink.cx.journal;
            self.runtime
                .block_on(journal.begin(self.epoch, Token::encode(&self.key)?))?;
            self.sink.stage(&self.key, Vec::new())?;
            self.begun = true;
        }
        if self.sink.config.ready_ms > 0 {
            let pause = Duration::from_millis(self.sink.config.ready_ms);
            *self.until.lock().unwrap() = Some(Instant::now() + pause);
        }
        let fault = format!("{}/panic-write", self.sink.config.place);
        assert!(!strikes(&fault), "a writer is broken");
        let mut rejected = Rejected::default();
        let found = match batch.column_by_name("n") {
            Some(column) => column.as_primitive::<Int64Type>().values().to_vec(),
            // Rejected rows: their text is {"n":1}.
            None => (0..batch.num_rows())
                .map(|row| {
                    let text = batch.column(0).as_string::<i32>().value(row);
                    serde_json::from_str::<serde_json::Value>(text).unwrap()["n"]
                        .as_i64()
                        .unwrap()
                })
                .collect(),
        };
        with_place(&self.sink.config.place, |place| {
            place.batches.push(batch.num_rows());
        });
        let mut rows = self.rows.lock().unwrap();
        let rows = rows.entry(self.key.clone()).or_default();
        for n in found {
            match self.sink.config.reject {
                Some(k) if k > 0 && n % k == 0 => {
                    rejected.push(format!("{{\"n\":{n}}}"), "a multiple", Origin::default());
                }
                _ => rows.push(n),
            }
        }
        if self.sink.config.reject_later {
            std::mem::swap(&mut rejected, &mut self.rejected);
        }
        Ok(rejected)
    }

    fn finish(self: Box<Self>) -> Result<Rejected> {
        let fault = format!("{}/panic", self.sink.config.place);
        assert!(!strikes(&fault), "a writer is broken");
        std::thread::sleep(Duration::from_millis(self.sink.config.prepare_ms));
        Ok(self.rejected)
    }
}
