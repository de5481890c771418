//! The contexts that the runtime would give, made for tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tempfile::TempDir;
use tidegate_core::{
    Cancel, Canceller, ComponentId, Context, Epoch, Error, Host, Input, Journal, Kept, KeyValue,
    Lineage, Metrics, Registry, Result, RunId, SinkContext, SourceContext, Token, TransformContext,
    async_trait,
};

/// Makes the contexts that a component is opened with: a temporary directory as `base`, stores in
/// memory, a journal that remembers.
///
/// ```
/// use tidegate_testkit::suites::context;
///
/// let cx = context().parallelism(8);
/// std::fs::write(cx.path("sales.csv"), "id\n1\n")?;
/// assert_eq!(cx.source().parallelism, 8);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct TestContext {
    common: Context,
    cuts: Arc<AtomicU64>,
    journal: Arc<MemoryJournal>,
    canceller: Option<Canceller>,
    _folder: TempDir,
}

/// A context with a temporary directory, 4 CPU threads and 256 MiB.
pub fn context() -> TestContext {
    TestContext::new()
}

static COUNT: AtomicU64 = AtomicU64::new(0);

impl TestContext {
    /// See [`context`].
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    #[expect(
        clippy::expect_used,
        reason = "a test without a temporary directory can't go on"
    )]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("tidegate-test-")
            .tempdir()
            .expect("a temporary directory for a test");
        let (canceller, cancel) = Cancel::new();
        let lineage = Lineage::new();
        let cuts = Arc::new(AtomicU64::new(0));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let common = Context {
            id: ComponentId::new("tested").expect("a valid name"),
            pipeline: format!("test-{}-{number}", lineage.short()).into(),
            lineage,
            run: RunId::new(),
            executor: 0,
            base: directory.path().join("base").into(),
            parallelism: 4,
            memory: 256 << 20,
            scratch: directory.path().join("scratch").into(),
            spill: u64::MAX,
            store: Arc::new(MemoryKeyValue::default()),
            shared: Arc::new(MemoryKeyValue::default()),
            cancel,
            metrics: Arc::new(Metrics::default()),
            settings: Arc::new(Map::new()),
            registry: Arc::new(Registry::linked().expect("one crate for each tag")),
            host: Host::new(
                {
                    let cuts = Arc::clone(&cuts);
                    move || {
                        cuts.fetch_add(1, Ordering::Relaxed);
                    }
                },
                Kept::default(),
            ),
        };
        std::fs::create_dir(&common.base).expect("a directory in a directory of ours");
        Self {
            common,
            cuts,
            journal: Arc::default(),
            canceller: Some(canceller),
            _folder: directory,
        }
    }

    /// With another number of CPU threads.
    #[must_use]
    pub fn parallelism(mut self, threads: usize) -> Self {
        self.common.parallelism = threads;
        self
    }

    /// With another memory budget.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.common.memory = bytes;
        self
    }

    /// With the settings table `name`, as of `tidegate.toml`.
    #[must_use]
    pub fn settings(mut self, name: &str, table: Value) -> Self {
        Arc::make_mut(&mut self.common.settings).insert(name.to_owned(), table);
        self
    }

    /// With another base directory, such as one of fixtures.
    #[must_use]
    pub fn base(mut self, base: impl AsRef<Path>) -> Self {
        self.common.base = base.as_ref().into();
        self
    }

    /// What every component gets.
    pub fn common(&self) -> Context {
        self.common.clone()
    }

    /// What a source gets. A context made in passing (`context().source()`) has a base directory
    /// that is already gone; keep the `TestContext` where files matter.
    pub fn source(&self) -> SourceContext {
        self.common()
    }

    /// What a transform with these inputs gets.
    pub fn transform(&self, inputs: Vec<Input>) -> TransformContext {
        TransformContext {
            common: self.common(),
            inputs,
        }
    }

    /// What a sink with these inputs gets.
    pub fn sink(&self, inputs: Vec<Input>) -> SinkContext {
        SinkContext {
            common: self.common(),
            inputs,
            answers: false,
            journal: Arc::clone(&self.journal) as _,
        }
    }

    /// What was journalled.
    pub fn journal(&self) -> &MemoryJournal {
        &self.journal
    }

    /// How often a checkpoint was asked for.
    pub fn requested_cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// As a component is opened that is only checked: nothing is kept.
    #[must_use]
    pub fn checking(mut self) -> Self {
        self.common.host = Host::default();
        self
    }

    /// A path in the base directory.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.common.path(path)
    }

    /// Says that it is time to stop.
    pub fn cancel(&mut self) {
        self.canceller = None;
    }

    /// Starts another run in the same destination and lineage.
    pub(super) fn next_run(&mut self) {
        self.common.run = RunId::new();
    }
}

/// A [`KeyValue`] in memory.
#[derive(Debug, Default)]
pub struct MemoryKeyValue(Mutex<BTreeMap<String, Value>>);

#[async_trait]
impl KeyValue for MemoryKeyValue {
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(values.get(key).cloned())
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = values.get(key) == expected;
        if same {
            values.insert(key.to_owned(), value.clone());
        }
        Ok(same)
    }
}

/// A [`Journal`] in memory, which can be taken over by another process.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    begun: Mutex<Vec<(Epoch, Token)>>,
    fenced: AtomicBool,
}

impl MemoryJournal {
    /// The tokens, in the order in which they were noted.
    pub fn begun(&self) -> Vec<Token> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.iter().map(|(_, token)| token.clone()).collect()
    }

    /// From now on every `begin` fails with `Conflict`.
    pub fn fence(&self) {
        self.fenced.store(true, Ordering::Relaxed);
    }

    /// Forgets the tokens of an epoch, as the runtime does when it is committed.
    pub fn forget(&self, epoch: Epoch) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|(of, _)| *of != epoch);
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn begin(&self, epoch: Epoch, token: Token) -> Result<()> {
        if self.fenced.load(Ordering::Relaxed) {
            return Err(Error::conflict("another process has taken over"));
        }
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.push((epoch, token));
        Ok(())
    }
}
