//! The end of the line where an executor works that isn't in the coordinator's process.
//!
//! ```text
//! input ─> frames ─┬─> Open, Command, Close ─> attempt ─> execution.rs
//!                  └─> Answer ─> who has asked                │
//! output <── frames <── Said, Ask, Counted, Closed ───────────┘
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use tidegate_core::{
    Cancel, ComponentConfig, Error, Kept, PipelineSpec, Registry, Result, RunId, guarded_async,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::Task;
use super::execution::{Beginning, Execution};
use super::frame::{self, COUNTED_EVERY, FromExecutor, Opening, ToExecutor};
use super::message::{Command, Said, Tell};
use super::queue::Closed;
use super::shared::closed;
use crate::graph::{Answer, Graph, Question, Records, Surroundings};
use crate::scratch::Scratch;
use crate::settings::RuntimeSettings;
use crate::stats::{RunStats, SaidSoFar};

/// Works as an executor for whoever is at the other end of the line, with the components of `registry`,
/// until the line is closed. What is under way then is given up; so it is where the future is dropped.
///
/// Over a process's standard input and output, nothing else may write to the output.
///
/// ```no_run
/// use tidegate_core::{Registry, Result};
/// use tidegate_runtime::executor::serve;
/// use tokio::net::UnixStream;
///
/// # async fn example(line: UnixStream) -> Result<()> {
/// let (input, output) = line.into_split();
/// serve(Registry::linked()?, input, output).await
/// # }
/// ```
///
/// Errors: what came over the line isn't a message, or nothing can be sent.
pub async fn serve(
    registry: Registry,
    mut input: impl AsyncRead + Unpin + Send + 'static,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<()> {
    let (out, frames) = mpsc::unbounded_channel();
    let mut writing = Task(tokio::spawn(frame::write(frames, output)));
    let asked = Arc::new(Asked {
        out: out.clone(),
        number: AtomicU64::new(0),
        waiting: Mutex::default(),
    });
    let (pass, mut told) = mpsc::unbounded_channel();
    let answers = Answers(Arc::clone(&asked));
    let mut reading = Task(tokio::spawn(async move {
        loop {
            let Some(frame) = frame::read(&mut input).await? else {
                return Ok(());
            };
            match frame {
                ToExecutor::Answer(number, answer) => answers.0.answer(number, answer),
                frame => {
                    // Where nobody takes it, the other direction is broken.
                    let _ = pass.send(frame);
                }
            }
        }
    }));
    let mut server = Server {
        registry: Arc::new(registry),
        out,
        asked,
        kept: None,
    };
    let serving = async {
        while let Some(frame) = told.recv().await {
            if let ToExecutor::Open(opening) = frame {
                server.attempt(*opening, &mut told).await;
                server.say(FromExecutor::Closed);
            }
        }
    };
    tokio::select! {
        // Nobody hears what is done any more.
        written = &mut writing.0 => return written.unwrap_or_else(|_| Err(closed(Closed))),
        () = serving => {}
    }
    (&mut reading.0)
        .await
        .unwrap_or_else(|_| Err(closed(Closed)))
}

struct Server {
    registry: Arc<Registry>,
    out: mpsc::UnboundedSender<FromExecutor>,
    asked: Arc<Asked>,
    /// What components keep over the attempts of the run that was worked on last.
    kept: Option<(RunId, Kept)>,
}

impl Server {
    fn say(&self, frame: FromExecutor) {
        // Where nobody hears, the line is closed, which ends all.
        let _ = self.out.send(frame);
    }

    fn kept(&mut self, run: RunId) -> Kept {
        match &self.kept {
            Some((of, kept)) if *of == run => kept.clone(),
            _ => {
                let (_, kept) = self.kept.insert((run, Kept::default()));
                kept.clone()
            }
        }
    }

    /// Does an attempt's work, until it is told that it is over.
    async fn attempt(&mut self, opening: Opening, told: &mut mpsc::UnboundedReceiver<ToExecutor>) {
        let runtime = match RuntimeSettings::of(&opening.settings) {
            Ok(runtime) => runtime,
            Err(error) => {
                self.say(FromExecutor::Said(Said::Failed(error)));
                while !matches!(told.recv().await, None | Some(ToExecutor::Close)) {}
                return;
            }
        };
        let counts = Arc::new(Counts::new(&opening.spec, runtime.workers(), &self.out));
        let (canceller, cancel) = Cancel::new();
        let (commands, queued) = mpsc::unbounded_channel();
        let work = Work {
            registry: Arc::clone(&self.registry),
            records: Arc::clone(&self.asked) as _,
            kept: self.kept(opening.run),
            counts: Arc::clone(&counts),
            cancel,
            runtime,
            opening,
        };
        let work = work.run(queued);
        let tell = counts.tell();
        let mut work = Task(tokio::spawn(async move {
            if let Err(error) = guarded_async("an executor", work).await {
                tell(Said::Failed(error));
            }
        }));
        let mut ticks = tokio::time::interval(COUNTED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                frame = told.recv() => match frame {
                    Some(ToExecutor::Command(command)) => {
                        // Where it has failed, it has said so.
                        let _ = commands.send(command);
                    }
                    None | Some(ToExecutor::Close) => break,
                    Some(ToExecutor::Open(_) | ToExecutor::Answer(..)) => {}
                },
                _ = ticks.tick() => counts.say(),
            }
        }
        drop((canceller, commands));
        loop {
            tokio::select! {
                // Its panic was told.
                _ = &mut work.0 => break,
                _ = ticks.tick() => counts.say(),
            }
        }
        counts.say();
    }
}

/// What an attempt works with.
struct Work {
    registry: Arc<Registry>,
    records: Arc<dyn Records>,
    kept: Kept,
    counts: Arc<Counts>,
    cancel: Cancel,
    runtime: RuntimeSettings,
    opening: Opening,
}

impl Work {
    /// Opens the pipeline and works on it, until nobody tells it what to do any more.
    async fn run(self, commands: mpsc::UnboundedReceiver<Command>) -> Result<()> {
        let scratch = Scratch::new(self.runtime.spill)?;
        let around = self.surroundings(&scratch);
        let (opening, stats) = (&self.opening, &self.counts.stats);
        let configs = opening.spec.components.iter();
        let configs = configs.map(|component| {
            ComponentConfig::parse(&self.registry, component)
                .map_err(|error| error.with("component", &component.id))
        });
        let configs = configs.collect::<Result<Vec<_>>>()?;
        let opened = Graph::open(
            &opening.spec,
            &configs,
            &stats.components,
            &around,
            &opening.schemas,
        );
        let graph = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Ok(()),
            graph = opened => Arc::new(graph?),
        };
        let begun = graph.check_as_asked(&opening.streams).and_then(|()| {
            let beginning = Beginning {
                graph: Arc::clone(&graph),
                around,
                stats: Arc::clone(stats),
                epoch: opening.epoch,
                full: opening.full,
            };
            Execution::begin(beginning, commands, self.counts.tell())
        });
        let ran = match begun {
            Ok(execution) => {
                execution.run().await;
                Ok(())
            }
            Err(error) => Err(error),
        };
        graph.release().await;
        ran
    }

    fn surroundings(&self, scratch: &Scratch) -> Surroundings {
        let opening = &self.opening;
        Surroundings {
            pipeline: opening.spec.name.as_str().into(),
            base: opening.spec.base.as_path().into(),
            lineage: opening.lineage,
            run: opening.run,
            executor: opening.executor,
            runtime: self.runtime.clone(),
            settings: Arc::new(opening.settings.clone()),
            registry: Arc::clone(&self.registry),
            scratch: scratch.path().into(),
            spill: scratch.room(),
            cancel: self.cancel.clone(),
            records: Some(Arc::clone(&self.records)),
            cuts: Arc::default(),
            kept: Some(self.kept.clone()),
        }
    }
}

/// What an attempt counts here, said before what it belongs to.
struct Counts {
    stats: Arc<RunStats>,
    said: Mutex<SaidSoFar>,
    out: mpsc::UnboundedSender<FromExecutor>,
}

impl Counts {
    fn new(spec: &PipelineSpec, workers: usize, out: &mpsc::UnboundedSender<FromExecutor>) -> Self {
        Self {
            stats: Arc::new(RunStats::new(spec, workers)),
            said: Mutex::default(),
            out: out.clone(),
        }
    }

    fn say(&self) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = self.stats.news(&mut said);
        // Where nobody hears, the line is closed, which ends all.
        let _ = self.out.send(FromExecutor::Counted(counted));
    }

    fn tell(self: &Arc<Self>) -> Tell {
        let counts = Arc::clone(self);
        Arc::new(move |said| {
            if matches!(said, Said::Cut { .. } | Said::Sealed(_)) {
                counts.say();
            }
            let _ = counts.out.send(FromExecutor::Said(said));
        })
    }
}

/// Questions to the coordinator, which alone has the state.
struct Asked {
    out: mpsc::UnboundedSender<FromExecutor>,
    number: AtomicU64,
    waiting: Mutex<Waiting>,
}

/// Where answers come from. When it is gone, also with a future that was dropped, none will come any
/// more, and no thread may wait for one.
struct Answers(Arc<Asked>);

impl Drop for Answers {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Default)]
struct Waiting {
    answers: HashMap<u64, oneshot::Sender<Result<Answer>>>,
    is_closed: bool,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

impl Asked {
    fn answer(&self, number: u64, answer: Result<Answer>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = waiting.answers.remove(&number) {
            // Who asked may have been given up.
            let _ = asked.send(answer);
        }
    }

    fn close(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.is_closed = true;
        waiting.answers.clear();
    }
}

#[async_trait]
impl Records for Asked {
    async fn answer(&self, question: Question) -> Result<Answer> {
        let gone = || Error::transient("the coordinator is gone");
        let (send, answer) = oneshot::channel();
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.is_closed {
                return Err(gone());
            }
            waiting.answers.insert(number, send);
        }
        // Where it can't be sent, the line is closed.
        let _ = self.out.send(FromExecutor::Ask(number, question));
        answer.await.map_err(|_| gone())?
    }
}

impl Graph {
    /// The sources' streams and what is asked of each, as text has them: two processes that open one
    /// pipeline must see the same.
    pub(super) fn as_asked(&self) -> Result<Value> {
        let sources = self.sources().map(|(_, node, _, streams)| {
            let streams = streams.iter();
            let streams = streams.map(|open| (&open.stream.name, &*open.stream.schema, &open.scan));
            (&node.spec.id, streams.collect::<Vec<_>>())
        });
        let sources: Vec<_> = sources.collect();
        let text = serde_json::to_string(&sources).and_then(|text| serde_json::from_str(&text));
        text.map_err(|error| Error::internal("a schema is no JSON").because(error))
    }

    fn check_as_asked(&self, coordinator: &Value) -> Result<()> {
        if self.as_asked()? == *coordinator {
            return Ok(());
        }
        // Something may have changed between the two openings.
        Err(Error::transient(
            "an executor finds other streams or columns than the coordinator has found",
        ))
    }
}
