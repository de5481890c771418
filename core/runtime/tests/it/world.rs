//! What outlives a process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_core::{
    Acknowledged, ComponentId, ComponentSpec, Kind, PipelineOptions, PipelineSpec, Registry,
};
use tidegate_runtime::executor::Executor;
use tidegate_runtime::state::{SqliteStore, StateLocation, StateStore};
use tidegate_runtime::{Pipeline, Report, Resume, RunOptions, Status};
use tokio::sync::watch;

use crate::heads::{Bucket, Process};

/// One destination: what is visible, and what is staged.
#[derive(Debug, Default, Clone)]
pub struct Place {
    pub visible: BTreeMap<String, Vec<i64>>,
    pub staged: BTreeMap<String, Vec<i64>>,
    /// What a recovery has removed.
    pub discarded: BTreeSet<String>,
    pub commits: Vec<(u64, bool)>,
    /// The rows of each batch that a writer got.
    pub batches: Vec<usize>,
}

impl Place {
    pub fn rows(&self) -> Vec<i64> {
        let mut rows: Vec<i64> = self.visible.values().flatten().copied().collect();
        rows.sort_unstable();
        rows
    }
}

static PLACES: LazyLock<Mutex<BTreeMap<String, Place>>> = LazyLock::new(Mutex::default);
static FAULTS: LazyLock<Mutex<BTreeMap<String, u32>>> = LazyLock::new(Mutex::default);

/// Changes a destination.
pub fn with_place<T>(name: &str, change: impl FnOnce(&mut Place) -> T) -> T {
    change(PLACES.lock().unwrap().entry(name.to_owned()).or_default())
}

static COUNTS: LazyLock<Mutex<BTreeMap<String, i32>>> = LazyLock::new(Mutex::default);

/// Adds to a count.
pub fn count(what: &str, more: i32) {
    *COUNTS.lock().unwrap().entry(what.to_owned()).or_default() += more;
}

/// A count as it is.
pub fn counted(what: &str) -> i32 {
    COUNTS
        .lock()
        .unwrap()
        .get(what)
        .copied()
        .unwrap_or_default()
}

static ACKNOWLEDGED: LazyLock<Mutex<BTreeMap<String, Vec<Acknowledged>>>> =
    LazyLock::new(Mutex::default);

/// What was acknowledged in a place, in its order.
pub fn with_acknowledged<T>(name: &str, work: impl FnOnce(&mut Vec<Acknowledged>) -> T) -> T {
    work(
        ACKNOWLEDGED
            .lock()
            .unwrap()
            .entry(name.to_owned())
            .or_default(),
    )
}

/// Arms a fault: the next `times` times that it is asked for, it strikes.
pub fn arm(fault: &str, times: u32) {
    FAULTS.lock().unwrap().insert(fault.to_owned(), times);
}

/// Whether an armed fault strikes now.
pub fn strikes(fault: &str) -> bool {
    let mut faults = FAULTS.lock().unwrap();
    match faults.get_mut(fault) {
        Some(left) if *left > 0 => {
            *left -= 1;
            true
        }
        _ => false,
    }
}

static GATES: LazyLock<Mutex<BTreeMap<String, Gate>>> = LazyLock::new(Mutex::default);

/// A place where components wait while it is shut.
#[derive(Debug)]
struct Gate {
    shut: watch::Sender<bool>,
    came: u32,
    /// How many have come and aren't through.
    inside: u32,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            shut: watch::Sender::new(false),
            came: 0,
            inside: 0,
        }
    }
}

fn with_gate<T>(gate: &str, work: impl FnOnce(&mut Gate) -> T) -> T {
    work(GATES.lock().unwrap().entry(gate.to_owned()).or_default())
}

/// Lets nobody pass.
pub fn shut(gate: &str) {
    with_gate(gate, |gate| gate.shut.send_replace(true));
}

/// Lets all pass.
pub fn open(gate: &str) {
    with_gate(gate, |gate| gate.shut.send_replace(false));
}

/// Notes that something happened there.
pub fn note(gate: &str) {
    with_gate(gate, |gate| gate.came += 1);
}

/// How many have come to a gate.
pub fn came(gate: &str) -> u32 {
    with_gate(gate, |gate| gate.came)
}

/// Says whether somebody waits at a gate that is shut.
pub fn is_waited_at(gate: &str) -> bool {
    with_gate(gate, |gate| *gate.shut.borrow() && gate.inside > 0)
}

struct Inside<'a>(&'a str);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        with_gate(self.0, |gate| gate.inside -= 1);
    }
}

/// Waits while the gate is shut.
pub async fn pass(gate: &str) {
    let mut shut = with_gate(gate, |gate| {
        gate.came += 1;
        gate.inside += 1;
        gate.shut.subscribe()
    });
    let inside = Inside(gate);
    shut.wait_for(|shut| !shut).await.unwrap();
    drop(inside);
}

/// The numbers below `count`.
pub fn all(count: i64) -> Vec<i64> {
    (0..count).collect()
}

/// Waits until something holds; the test fails if it never does.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A pipeline under test, with a state directory and a destination of its own.
pub struct World {
    pub name: String,
    pub directory: Arc<tempfile::TempDir>,
    pub components: Vec<ComponentSpec>,
    pub options: PipelineOptions,
    pub settings: Value,
    /// Where the state is, if not in a directory.
    pub bucket: Option<Arc<Bucket>>,
    /// A store that is looked into.
    pub watched: Option<Arc<dyn StateStore>>,
    /// What works for the pipeline's runs.
    pub executors: Vec<Executor>,
    /// The process that runs the pipeline, where the state is in a bucket.
    process: Mutex<Option<Arc<Process>>>,
}

/// How long a state in a bucket stands still before it is taken over.
const LEASE: Duration = Duration::from_millis(60);

impl World {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            directory: Arc::new(tempfile::tempdir().unwrap()),
            components: Vec::new(),
            options: PipelineOptions::default(),
            settings: json!({"workers": 3, "attempts": 4}),
            bucket: None,
            watched: None,
            executors: vec![Executor::local()],
            process: Mutex::default(),
        }
    }

    pub fn component(
        mut self,
        kind: Kind,
        id: &str,
        tag: &str,
        inputs: &[&str],
        config: Value,
    ) -> Self {
        self.components.push(ComponentSpec {
            id: ComponentId::new(id).unwrap(),
            kind,
            tag: tag.to_owned(),
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            guarantee: None,
            config: config.as_object().cloned().unwrap_or_default(),
        });
        self
    }

    pub fn source(self, id: &str, config: Value) -> Self {
        self.component(Kind::Source, id, "numbers", &[], config)
    }

    /// A sink that writes to the world's own destination.
    pub fn sink(self, id: &str, inputs: &[&str], mut config: Value) -> Self {
        config["place"] = json!(format!("{}/{id}", self.name));
        self.component(Kind::Sink, id, "place", inputs, config)
    }

    /// With its state on object storage.
    pub fn with_bucket(mut self) -> Self {
        self.bucket = Some(Arc::default());
        self
    }

    /// The state as another process has it.
    pub fn store(&self) -> Arc<dyn StateStore> {
        match &self.bucket {
            Some(bucket) => Process::new(bucket).store(LEASE),
            None => Arc::new(SqliteStore::open(&self.state()).unwrap()),
        }
    }

    /// Ends the process that ran the pipeline: nothing more of it reaches the state.
    pub fn kill(&self) {
        if let Some(process) = self.process.lock().unwrap().take() {
            process.die();
        }
    }

    fn location(&self) -> StateLocation {
        if let Some(store) = &self.watched {
            return Arc::clone(store).into();
        }
        let Some(bucket) = &self.bucket else {
            return self.state().into();
        };
        let process = Process::new(bucket);
        let store = process.store(LEASE);
        *self.process.lock().unwrap() = Some(process);
        store.into()
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub fn pipeline(&self) -> tidegate_core::Result<Pipeline> {
        let spec = PipelineSpec {
            name: self.name.clone(),
            base: self.directory.path().to_owned(),
            options: self.options.clone(),
            components: self.components.clone(),
        };
        let settings = json!({"runtime": self.settings})
            .as_object()
            .cloned()
            .unwrap();
        Pipeline::new(spec, Registry::linked()?, settings)
    }

    pub fn run_options(&self) -> (watch::Sender<bool>, RunOptions) {
        let (sender, stop) = watch::channel(false);
        (
            sender,
            RunOptions {
                state: self.location(),
                resume: Resume::IfUnchanged,
                stop,
                executors: self.executors.clone(),
            },
        )
    }

    pub async fn run_with(&self, resume: Resume) -> (Report, tidegate_core::Result<()>) {
        let (_sender, options) = self.run_options();
        self.pipeline()
            .unwrap()
            .run(RunOptions { resume, ..options })
            .await
    }

    pub async fn run(&self) -> (Report, tidegate_core::Result<()>) {
        self.run_with(Resume::IfUnchanged).await
    }

    /// Runs to the end, and says so if it doesn't come to it.
    pub async fn complete(&self) -> Report {
        let (report, result) = self.run().await;
        result.unwrap();
        assert_eq!(report.status, Status::Completed);
        report
    }

    pub fn place(&self, sink: &str) -> Place {
        with_place(&format!("{}/{sink}", self.name), |place| place.clone())
    }

    pub fn fault(&self, what: &str) -> String {
        format!("{}/{what}", self.name)
    }
}
