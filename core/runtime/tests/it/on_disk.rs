//! A source and a sink whose outside is a directory, for executors in several processes.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_core::{
    Ask, Commit, CpuWriter, Delivery, Epoch, Event, EventStream, Next, Offset, Plan, PlanState,
    Prepared, Recovery, Rejected, Replay, Result, Rows, Scan, Sealed, Sink, SinkBatch, SinkConfig,
    SinkContext, SinkEpoch, Source, SourceConfig, SourceContext, Split, SplitData, Stream, Token,
    Writer, WriterId, async_trait, register_sink, register_source, typetag,
};

use crate::components::{batch, schema};

/// The files of a directory, each of which has a first number and a count.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangesConfig {
    pub directory: PathBuf,
    /// Pause after each ten numbers.
    #[serde(default)]
    pub pause_ms: u64,
    #[serde(default)]
    pub whole: bool,
}

#[async_trait]
#[typetag::serde(name = "ranges")]
impl SourceConfig for RangesConfig {
    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        // Both sides have the same store.
        let seen = cx.store.get("opened").await?;
        let times = seen.as_ref().and_then(serde_json::Value::as_u64);
        let more = json!(times.unwrap_or_default() + 1);
        cx.store
            .compare_and_set("opened", seen.as_ref(), &more)
            .await?;
        Ok(Arc::new(Ranges(self.clone())))
    }
}
register_source!("ranges", RangesConfig);

#[derive(Debug)]
struct Ranges(RangesConfig);

#[async_trait]
impl Source for Ranges {
    fn streams(&self) -> Vec<Stream> {
        vec![Stream {
            name: "all".into(),
            schema: schema(),
            key: Vec::new(),
            bounded: true,
            replay: match self.0.whole {
                true => Replay::Whole,
                false => Replay::Offset,
            },
        }]
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let mut new = Vec::new();
        let directory = ask.first.then(|| fs::read_dir(&self.0.directory).unwrap());
        for entry in directory.into_iter().flatten() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            new.push(Split::new(&name, SplitData::encode(&name)?));
        }
        Ok(Plan {
            new,
            revoked: Vec::new(),
            state: PlanState::encode(&())?,
            next: Next::Complete,
        })
    }

    async fn read(
        &self,
        split: &Split,
        _: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let name: String = split.data.decode()?;
        let text = fs::read_to_string(self.0.directory.join(name)).unwrap();
        let (first, count) = text.split_once(' ').unwrap();
        let (first, count): (i64, i64) = (first.parse().unwrap(), count.parse().unwrap());
        let from = resume.map(Offset::decode).transpose()?.unwrap_or(0);
        let config = self.0.clone();
        let events = futures::stream::unfold(from, move |at| {
            let config = config.clone();
            async move {
                if at >= count {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(config.pause_ms)).await;
                let end = (at + 10).min(count);
                let resume = match config.whole {
                    true => None,
                    false => Some(Offset::encode(&end).unwrap()),
                };
                let event = Event::Rows {
                    stream: "all".into(),
                    rows: Rows::Batch(batch((first + at..first + end).collect())),
                    rejected: None,
                    resume,
                };
                Some((Ok(event), end))
            }
        });
        Ok(events.boxed())
    }
}

/// Files of numbers, hidden until they are committed; a writer's file has the writer's name.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinesConfig {
    pub directory: PathBuf,
}

#[async_trait]
#[typetag::serde(name = "lines")]
impl SinkConfig for LinesConfig {
    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        fs::create_dir_all(&self.directory).unwrap();
        Ok(Arc::new(Lines {
            directory: self.directory.clone(),
            cx: cx.clone(),
        }))
    }
}
register_sink!("lines", LinesConfig);

#[derive(Debug, Clone)]
struct Lines {
    directory: PathBuf,
    cx: SinkContext,
}

impl Lines {
    fn hidden(&self, name: &str) -> PathBuf {
        self.directory.join(format!(".{name}"))
    }
}

#[async_trait]
impl Sink for Lines {
    fn delivery(&self) -> Delivery {
        Delivery::TwoPhase
    }

    fn writer_bytes(&self) -> u64 {
        0
    }

    async fn epoch(&self, id: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        Ok(Arc::new(LinesEpoch {
            sink: self.clone(),
            id,
            names: Arc::default(),
        }))
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        for prepared in commit.prepared {
            let name: String = prepared.decode()?;
            let (from, to) = (self.hidden(&name), self.directory.join(&name));
            match to.exists() {
                true => assert!(!from.exists(), "two writers had the name {name}"),
                false => fs::rename(from, to).unwrap(),
            }
        }
        Ok(())
    }

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        for token in recovery.begun {
            let name: String = token.decode()?;
            let _ = fs::remove_file(self.hidden(&name));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct LinesEpoch {
    sink: Lines,
    id: Epoch,
    names: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl SinkEpoch for LinesEpoch {
    async fn writer(&self, id: WriterId) -> Result<Writer> {
        assert_eq!(id.executor, self.sink.cx.common.executor);
        Ok(Writer::Cpu(Box::new(LinesWriter {
            name: format!("{}_{id}", self.sink.cx.common.run.short()),
            sink: self.sink.clone(),
            epoch: self.id,
            names: Arc::clone(&self.names),
            runtime: tokio::runtime::Handle::current(),
            file: None,
        })))
    }

    async fn seal(&self) -> Result<Sealed> {
        let names = self.names.lock().unwrap();
        let prepared: Result<_> = names.iter().map(Prepared::encode).collect();
        Ok(Sealed {
            prepared: prepared?,
            ..Sealed::default()
        })
    }

    async fn abandon(&self) {}
}

struct LinesWriter {
    name: String,
    sink: Lines,
    epoch: Epoch,
    names: Arc<Mutex<Vec<String>>>,
    runtime: tokio::runtime::Handle,
    file: Option<File>,
}

impl CpuWriter for LinesWriter {
    fn write(&mut self, batch: SinkBatch) -> Result<Rejected> {
        if self.file.is_none() {
            let journal = &self.sink.cx.journal;
            let token = Token::encode(&self.name)?;
            self.runtime.block_on(journal.begin(self.epoch, token))?;
            // Fails where another writer has the name.
            self.file = Some(File::create_new(self.sink.hidden(&self.name)).unwrap());
            self.names.lock().unwrap().push(self.name.clone());
        }
        for n in batch.rows.column(0).as_primitive::<Int64Type>().values() {
            writeln!(self.file.as_mut().unwrap(), "{n}").unwrap();
        }
        Ok(Rejected::default())
    }

    fn finish(self: Box<Self>) -> Result<Rejected> {
        if let Some(file) = self.file {
            file.sync_all().unwrap();
        }
        Ok(Rejected::default())
    }
}
