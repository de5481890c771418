//! What the runtime gives a component to work with.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow_schema::{FieldRef, SchemaRef};
use async_trait::async_trait;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{BoxFuture, Shared};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    ComponentId, Epoch, Error, FailedFiles, Host, Lineage, Registry, Result, RunId, Token, suggest,
};

/// What every component gets.
#[derive(Debug, Clone)]
pub struct Context {
    /// The component's name.
    pub id: ComponentId,
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// The identity of the pipeline's state.
    pub lineage: Lineage,
    /// The run.
    pub run: RunId,
    /// Which of the run's executors it is opened in, from 0. Several may work on one epoch, so what is
    /// named by more than a [`WriterId`](crate::WriterId) has to carry it.
    pub executor: u32,
    /// The directory that relative paths are relative to: the pipeline file's.
    pub base: Arc<Path>,
    /// How many CPU threads work for the pipeline.
    pub parallelism: usize,
    /// How many bytes this component may hold beyond the batches it is given.
    pub memory: u64,
    /// A directory for what doesn't fit in memory; made on first use, gone at the end.
    pub scratch: Arc<Path>,
    /// How many bytes this component may write to it.
    pub spill: u64,
    /// A store that outlives runs and has nothing to do with epochs.
    pub store: Arc<dyn KeyValue>,
    /// The same, but one for all components of all pipelines whose state is kept in one place: for
    /// what they share upstream (a quota). Keys begin with the name of what they belong to.
    pub shared: Arc<dyn KeyValue>,
    /// Says when to stop. Futures and streams are dropped as well; this is for threads.
    pub cancel: Cancel,
    /// Counts what the report shows.
    pub metrics: Arc<Metrics>,
    /// The settings of shared clients: the tables of `tidegate.toml`, such as `[http]`.
    pub settings: Arc<serde_json::Map<String, Value>>,
    /// The components that the pipeline can be made of: where a catalog is found by its `type`.
    pub registry: Arc<Registry>,
    /// What the runtime does for it: see [`Context::request_cut`] and [`Context::keep`].
    pub host: Host,
}

/// A table of the settings, or its default where it isn't there.
///
/// Errors: `Config` for one that can't be used.
pub fn settings_table<T: DeserializeOwned + Default>(
    settings: &serde_json::Map<String, Value>,
    name: &str,
) -> Result<T> {
    match settings.get(name) {
        None => Ok(T::default()),
        Some(value) => T::deserialize(value).map_err(|error| {
            Error::config(format!("the settings `[{name}]` can't be used: {error}"))
        }),
    }
}

impl Context {
    /// The settings table `name`, or its default where it isn't there.
    pub fn settings<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T> {
        settings_table(&self.settings, name)
    }

    /// A context outside any pipeline, for commands that open a catalog or a place by themselves:
    /// nothing is remembered, nothing is cancelled, and the components are those that are linked.
    /// `base` is what relative paths are relative to.
    pub fn detached(base: &Path, settings: Arc<serde_json::Map<String, Value>>) -> Result<Self> {
        Ok(Self {
            id: ComponentId::new("command")?,
            pipeline: "command".into(),
            lineage: Lineage::new(),
            run: RunId::new(),
            executor: 0,
            base: base.into(),
            parallelism: std::thread::available_parallelism().map_or(1, usize::from),
            memory: 256 << 20,
            scratch: std::env::temp_dir().into(),
            spill: u64::MAX,
            store: Arc::new(Forgetful),
            shared: Arc::new(Forgetful),
            cancel: Cancel::never(),
            metrics: Arc::default(),
            settings,
            registry: Arc::new(Registry::linked()?),
            host: Host::default(),
        })
    }

    /// A path from the pipeline file, made absolute.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.base.join(path)
    }
}

/// What a source gets.
pub type SourceContext = Context;

/// What a transform gets.
#[derive(Debug, Clone)]
pub struct TransformContext {
    /// What every component gets.
    pub common: Context,
    /// Its inputs.
    pub inputs: Vec<Input>,
}

/// What a sink gets.
#[derive(Debug, Clone)]
pub struct SinkContext {
    /// What every component gets.
    pub common: Context,
    /// Its inputs; empty when commits of an earlier process are replayed.
    pub inputs: Vec<Input>,
    /// Whether anything reads its stream of [answers](crate::Sink::answers).
    pub answers: bool,
    /// Where its writers note what they are about to begin.
    pub journal: Arc<dyn Journal>,
}

/// One input of a transform or a sink.
#[derive(Debug, Clone)]
pub struct Input {
    /// The name by which the pipeline file calls it: `weekly`, `shop.sales`, `weekly.rejected`.
    pub name: Arc<str>,
    /// Its columns.
    pub schema: SchemaRef,
}

impl Input {
    /// Its column of this name.
    ///
    /// Errors: `Schema`, with the name that was probably meant.
    pub fn column(&self, name: &str) -> Result<&FieldRef> {
        let fields = self.schema.fields();
        if let Some((_, field)) = fields.find(name) {
            return Ok(field);
        }
        let names = || fields.iter().map(|field| field.name().as_str());
        let hint = match suggest::nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has: {}", suggest::list(name, names())),
        };
        Err(Error::schema(format!("`{}` has no column `{name}`", self.name)).hint(hint))
    }
}

/// Where what is about to begin is noted, so that recovery never guesses by listing.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync {
    /// Stores the token, durably, before returning. Call it before the first byte goes out. Fails
    /// with `Conflict` when another process has taken over.
    async fn begin(&self, epoch: Epoch, token: Token) -> Result<()>;
}

/// A small store of JSON values by key.
#[async_trait]
pub trait KeyValue: fmt::Debug + Send + Sync {
    /// The value of `key`.
    async fn get(&self, key: &str) -> Result<Option<Value>>;

    /// Sets `key` to `value` if it still is `expected` (`None`: not there). Says whether it was.
    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool>;
}

/// A store that keeps nothing, for components that are opened outside any run.
#[derive(Debug)]
pub struct Forgetful;

#[async_trait]
impl KeyValue for Forgetful {
    async fn get(&self, _: &str) -> Result<Option<Value>> {
        Ok(None)
    }

    async fn compare_and_set(&self, _: &str, _: Option<&Value>, _: &Value) -> Result<bool> {
        Ok(true)
    }
}

/// Says when to stop.
#[derive(Clone)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    signal: Shared<BoxFuture<'static, ()>>,
}

/// The other end of a [`Cancel`]; dropping it cancels too.
#[derive(Debug)]
pub struct Canceller {
    flag: Arc<AtomicBool>,
    _signal: oneshot::Sender<()>,
}

impl Cancel {
    /// A signal and the hand on it.
    pub fn new() -> (Canceller, Self) {
        let flag = Arc::new(AtomicBool::new(false));
        let (send, receive) = oneshot::channel();
        let signal = receive.map(|_| ()).boxed().shared();
        (
            Canceller {
                flag: Arc::clone(&flag),
                _signal: send,
            },
            Self { flag, signal },
        )
    }

    /// A signal that never comes.
    pub fn never() -> Self {
        Self {
            flag: Arc::default(),
            signal: futures::future::pending().boxed().shared(),
        }
    }

    /// Whether to stop.
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Waits until it is time to stop.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        self.signal.clone()
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancel({})", self.is_cancelled())
    }
}

impl Drop for Canceller {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident, $get:ident;)*) => {
        /// What a component counts for the report, beyond the rows that the runtime counts itself.
        #[derive(Debug, Default)]
        pub struct Metrics {
            /// The files that it passed over.
            pub failed_files: FailedFiles,
            $($name: AtomicU64,)*
        }

        impl Metrics {$(
            $(#[$doc])*
            pub fn $name(&self, more: u64) {
                self.$name.fetch_add(more, Ordering::Relaxed);
            }

            /// What was counted by the method of this name without `total_`.
            pub fn $get(&self) -> u64 {
                self.$name.load(Ordering::Relaxed)
            }
        )*}
    };
}

counters! {
    /// Adds bytes read from or written to the outside, as they lie there (compressed).
    bytes, total_bytes;
    /// Adds files or objects read or made.
    files, total_files;
    /// Adds requests that were made, the repeated ones too.
    requests, total_requests;
    /// Adds requests that were retried.
    retries, total_retries;
    /// Adds milliseconds for which requests were held back: rate limits, waits that the upstream
    /// asked for.
    waited_ms, total_waited_ms;
}
