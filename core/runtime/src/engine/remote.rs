//! Executors as a run is given them, and the coordinator's end of the line to one in another process.

use std::fmt;
use std::path::absolute;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tidegate_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, mpsc};
use tokio::time::MissedTickBehavior;

use super::Task;
use super::common::Common;
use super::frame::{self, COUNTED_EVERY, FromExecutor, Opening, ToExecutor};
use super::message::{Command, Said, Tell};
use super::queue::Closed;
use super::shared::closed;

/// How long an executor may say nothing, if nothing else is asked for.
const SILENT: Duration = Duration::from_secs(30);

/// What works for a run: it reads the splits that the coordinator gives it, decodes, maps, writes and
/// makes durable.
///
/// A run has one executor in its own process, unless it is given others. Splits go to the executor that
/// reads the fewest of their source; what a source allows at once holds for all together. An executor
/// that is lost takes along what it has done since the last checkpoint: the run resumes from there
/// with those that are left.
///
/// Some pipelines need one executor, and run on the first one alone: those with a transform that needs
/// all rows, and those with a sink that wants rows in order, by key or all at one writer. What listens,
/// and what can't be read again from a position (a snapshot, a queue, a socket), is read in the
/// coordinator's own process.
#[derive(Debug, Clone)]
pub struct Executor(Place);

#[derive(Debug, Clone)]
enum Place {
    Local,
    Remote(Arc<Remote>, Duration),
}

impl Executor {
    /// The one in the process of the run itself. A run has at most one.
    pub fn local() -> Self {
        Self(Place::Local)
    }

    /// One that [`serve`](super::serve)s at the other end of a line: another process, or a task of this
    /// one. `name` is what logs and errors call it. It may serve one run after another, not two at once,
    /// and is let go of when the last clone is dropped.
    ///
    /// To be called within a Tokio runtime that lives as long.
    pub fn remote(
        name: impl Into<String>,
        input: impl AsyncRead + Unpin + Send + 'static,
        output: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Self {
        Self(Place::Remote(
            Remote::new(name.into(), input, output),
            SILENT,
        ))
    }

    /// How long one in another process may say nothing, in whole seconds, before it counts as lost.
    /// While it works on a run it says something each second. Default: 30 s.
    #[must_use]
    pub fn lost_after(self, silent: Duration) -> Self {
        match self.0 {
            Place::Local => self,
            Place::Remote(remote, _) => Self(Place::Remote(remote, silent)),
        }
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self.0, Place::Local)
    }

    /// Whether it can't be used any more.
    pub fn is_lost(&self) -> bool {
        match &self.0 {
            Place::Local => false,
            Place::Remote(remote, _) => remote.lost.load(Ordering::Acquire),
        }
    }

    /// The place among a run's executors of the one in its own process; the first, if there is none.
    pub(crate) fn local_of(executors: &[Self]) -> Result<u32> {
        let local = executors.iter().zip(0..);
        let mut local = local.filter_map(|(executor, at)| executor.is_local().then_some(at));
        let at = local.next().unwrap_or_default();
        match local.next() {
            None => Ok(at),
            Some(_) => Err(Error::config(
                "a run has at most one executor in its own process",
            )),
        }
    }

    /// The one in another process, and how long it may say nothing.
    pub(super) fn as_remote(&self) -> Option<(&Arc<Remote>, Duration)> {
        match &self.0 {
            Place::Local => None,
            Place::Remote(remote, silent) => Some((remote, *silent)),
        }
    }
}

/// The coordinator's end of the line.
pub(super) struct Remote {
    name: String,
    out: mpsc::UnboundedSender<ToExecutor>,
    /// What it says; an error once it is lost.
    heard: Mutex<mpsc::UnboundedReceiver<Result<FromExecutor>>>,
    /// Attempts that were begun with it, and whose end it hasn't said.
    open: AtomicU32,
    lost: AtomicBool,
    line: [Task<()>; 2],
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.name)
    }
}

impl Remote {
    fn new(
        name: String,
        mut input: impl AsyncRead + Unpin + Send + 'static,
        output: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Arc<Self> {
        let (out, frames) = mpsc::unbounded_channel();
        let (say, heard) = mpsc::unbounded_channel();
        let failed = say.clone();
        let writing = tokio::spawn(async move {
            if let Err(error) = frame::write(frames, output).await {
                // Nobody hears it once the executor is let go of.
                let _ = failed.send(Err(error));
            }
        });
        let reading = tokio::spawn(async move {
            loop {
                let heard = match frame::read(&mut input).await {
                    Ok(Some(frame)) => Ok(frame),
                    Ok(None) => Err(Error::transient("the line was closed")),
                    Err(error) => Err(error),
                };
                let is_over = heard.is_err();
                if say.send(heard).is_err() || is_over {
                    break;
                }
            }
        });
        Arc::new(Self {
            name,
            out,
            heard: Mutex::new(heard),
            open: AtomicU32::new(0),
            lost: AtomicBool::new(false),
            line: [Task(writing), Task(reading)],
        })
    }

    fn say(&self, frame: ToExecutor) {
        // Where it can't be sent, the executor is lost, which is heard.
        let _ = self.out.send(frame);
    }

    /// Begins an attempt, and passes on what both sides say until it has ended, or has said nothing for
    /// as long as `silent`.
    pub(super) async fn relay(
        self: Arc<Self>,
        silent: Duration,
        opening: Opening,
        mut commands: mpsc::UnboundedReceiver<Command>,
        tell: Tell,
        common: Arc<Common>,
    ) {
        let mut heard = self.heard.lock().await;
        let begun = Begun::new(&self, opening);
        let mut is_told = true;
        // Counted in ticks, not in time, of which none was its own if this process stood still.
        let most = silent.as_secs().max(1);
        let mut ticks = tokio::time::interval(COUNTED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut missed = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    missed += 1;
                    if missed > most {
                        return tell(Said::Failed(self.lose(Error::transient(format!(
                            "it has said nothing for {most} s"
                        )))));
                    }
                }
                command = commands.recv(), if is_told => match command {
                    Some(command) => self.say(ToExecutor::Command(command)),
                    None => {
                        is_told = false;
                        begun.close();
                    }
                },
                frame = heard.recv() => {
                    missed = 0;
                    // It still ends attempts that nobody waited for.
                    let is_ours = self.open.load(Ordering::Acquire) == 1;
                    match frame.unwrap_or_else(|| Err(closed(Closed))) {
                        Ok(FromExecutor::Said(said)) if is_ours => tell(said),
                        Ok(FromExecutor::Counted(counted)) if is_ours => common.stats.add(counted),
                        Ok(FromExecutor::Said(_) | FromExecutor::Counted(_)) => {}
                        Ok(FromExecutor::Ask(number, question)) => {
                            let (remote, common) = (Arc::clone(&self), Arc::clone(&common));
                            tokio::spawn(async move {
                                let answer = match &common.around.records {
                                    Some(records) if is_ours => records.answer(question).await,
                                    _ => Err(closed(Closed)),
                                };
                                remote.say(ToExecutor::Answer(number, answer));
                            });
                        }
                        Ok(FromExecutor::Closed) => {
                            if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
                                return;
                            }
                        }
                        Err(error) => return tell(Said::Failed(self.lose(error))),
                    }
                }
            }
        }
    }

    /// Has no more to do with it. With the line, what it does ends on its side, should it still work.
    fn lose(&self, error: Error) -> Error {
        self.lost.store(true, Ordering::Release);
        self.line.iter().for_each(|task| task.0.abort());
        Error::transient("an executor is lost")
            .with("executor", &self.name)
            .hint("what it had done since the last checkpoint is done again by those that are left")
            .because(error)
    }
}

/// An attempt that an executor has begun. However it ends here, the executor is told.
struct Begun<'a> {
    remote: &'a Remote,
    is_closed: AtomicBool,
}

impl<'a> Begun<'a> {
    fn new(remote: &'a Remote, opening: Opening) -> Self {
        remote.open.fetch_add(1, Ordering::AcqRel);
        remote.say(ToExecutor::Open(Box::new(opening)));
        Self {
            remote,
            is_closed: AtomicBool::new(false),
        }
    }

    fn close(&self) {
        if !self.is_closed.swap(true, Ordering::AcqRel) {
            self.remote.say(ToExecutor::Close);
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

/// What an executor in another process is to begin with.
pub(super) fn opening(
    common: &Common,
    executor: u32,
    epoch: tidegate_core::Epoch,
    full: Option<u64>,
) -> Result<Opening> {
    let (around, mut spec) = (&common.around, common.spec.clone());
    // It may have been started in another directory.
    spec.base = absolute(&spec.base)
        .map_err(|error| Error::io("the pipeline file's directory can't be told", error))?;
    Ok(Opening {
        spec,
        settings: around.settings.as_ref().clone(),
        lineage: around.lineage,
        run: around.run,
        executor,
        epoch,
        full,
        schemas: common.schemas.clone(),
        streams: common.graph.as_asked()?,
    })
}
