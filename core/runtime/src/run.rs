//! A run, from the lease to the report.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::{Map as JsonMap, Value};
use tidegate_core::{
    ByteSize, Cancel, Changed, ComponentConfig, ComponentId, ComponentSpec, Error, ErrorKind,
    Lineage, PipelineSpec, PlanState, Registry, Result, RunId, Span,
};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::engine::{Attempt, Common, Executor, Outcome};
use crate::graph::{Body, Graph, Records, StateRecords, Surroundings};
use crate::recover::{self, new_run};
use crate::refresh::{self, FullRefresh};
use crate::report::{Report, Status, Told};
use crate::resume::{self, Resume};
use crate::retry;
use crate::scratch::Scratch;
use crate::settings::RuntimeSettings;
use crate::state::{
    Change, Fence, PipelineState, RunState, StateLocation, StateStore, StoredComponent,
};
use crate::stats::{Given, RunStats};
use crate::stored::store;

/// A pipeline that is ready to be checked or run.
///
/// ```no_run
/// # async fn example(spec: tidegate_core::PipelineSpec) -> tidegate_core::Result<()> {
/// use tidegate_core::Registry;
/// use tidegate_runtime::Pipeline;
///
/// let pipeline = Pipeline::new(spec, Registry::linked()?, serde_json::Map::new())?;
/// let (report, result) = pipeline.run(Default::default()).await;
/// result?;
/// println!("{} epochs", report.epochs);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pipeline {
    spec: PipelineSpec,
    configs: Vec<ComponentConfig>,
    settings: Arc<JsonMap<String, Value>>,
    registry: Arc<Registry>,
    runtime: RuntimeSettings,
    stats: Arc<RunStats>,
    given: OnceLock<Vec<Option<Given>>>,
    file: Option<String>,
}

/// How a run is to go about it.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Where the state is kept.
    pub state: StateLocation,
    /// What to do with an unfinished run.
    pub resume: Resume,
    /// What to do with an input that changed or went when a part of it was committed.
    pub changed: Changed,
    /// Which sources forget what they remember when the run begins.
    pub refresh: FullRefresh,
    /// Whether to take over the state of another pipeline file of the same name.
    pub adopt: bool,
    /// Turns true when the run is to end: it commits what it has, and stops.
    pub stop: watch::Receiver<bool>,
    /// What works for the run.
    pub executors: Vec<Executor>,
}

impl Default for RunOptions {
    /// State in `.tidegate`, never stopped, and with one executor, in this process.
    fn default() -> Self {
        let (_, stop) = watch::channel(false);
        Self {
            state: StateLocation::default(),
            resume: Resume::default(),
            changed: Changed::default(),
            refresh: FullRefresh::default(),
            adopt: false,
            stop,
            executors: vec![Executor::local()],
        }
    }
}

/// How long what components keep open may take to end.
const ENDING: Duration = Duration::from_secs(10);

impl Pipeline {
    /// Checks the pipeline and parses its components' configurations. No I/O.
    ///
    /// `settings` are the tables of `tidegate.toml`.
    ///
    /// Errors: `Config`.
    pub fn new(
        spec: PipelineSpec,
        registry: Registry,
        settings: JsonMap<String, Value>,
    ) -> Result<Self> {
        spec.check()?;
        let parse = |component: &ComponentSpec| {
            let config = ComponentConfig::parse(&registry, component);
            config.map_err(|error| error.with("component", &component.id))
        };
        let configs = spec.components.iter().map(parse).collect::<Result<_>>()?;
        Self::with_configs(spec, configs, registry, settings)
    }

    /// The same for a pipeline that is checked and parsed already, as that of a file is once it is
    /// loaded: `configs` in the order of its components.
    ///
    /// Errors: `Config`, for the settings.
    pub fn with_configs(
        spec: PipelineSpec,
        configs: Vec<ComponentConfig>,
        registry: Registry,
        settings: JsonMap<String, Value>,
    ) -> Result<Self> {
        if configs.len() != spec.components.len() {
            return Err(Error::internal(
                "a pipeline needs a configuration for each component",
            ));
        }
        let runtime = RuntimeSettings::of(&settings)?;
        let stats = Arc::new(RunStats::new(&spec, runtime.workers()));
        let settings = Arc::new(settings);
        Ok(Self {
            spec,
            configs,
            settings,
            registry: Arc::new(registry),
            runtime,
            stats,
            given: OnceLock::new(),
            file: None,
        })
    }

    /// With the file that it comes from: its state then belongs to that file, and is refused to
    /// another one of the same name.
    #[must_use]
    pub fn from_file(mut self, file: &Path) -> Self {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        self.file = Some(file.to_string_lossy().into_owned());
        self
    }

    /// The pipeline as data.
    pub fn spec(&self) -> &PipelineSpec {
        &self.spec
    }

    /// What the process that runs it may take of the machine's memory, for programs that hold
    /// themselves to it.
    pub fn process_memory(&self) -> ByteSize {
        let own = self.spec.components.iter();
        let own = own.filter_map(|one| ByteSize::deserialize(one.config.get("memory")?).ok());
        let sum = own.fold(self.runtime.memory.0, |sum, one| sum.saturating_add(one.0));
        let process = self.runtime.process_memory;
        process.unwrap_or_else(|| RuntimeSettings::process_memory_of(ByteSize(sum)))
    }

    /// What the run counts, to be read while it runs.
    pub fn stats(&self) -> Arc<RunStats> {
        Arc::clone(&self.stats)
    }

    /// Opens every component and resolves and checks the schemas of the whole graph, as if the pipeline had never run; reads no row
    /// and changes nothing.
    pub async fn check(&self) -> Result<Graph> {
        self.open(Lineage::new()).await
    }

    /// The same as it would run with this state, if there is one: a sink may know by whose state it was
    /// written to. What a run would be refused for by the state is told, too.
    pub async fn check_with(&self, location: &StateLocation) -> Result<Graph> {
        let Some(state) = location.load(&self.spec.name).await? else {
            return self.check().await;
        };
        self.check_owner(location, &state)?;
        let ends = state.epochs.iter().any(|epoch| epoch.last);
        let unfinished = state.run.as_ref().is_some_and(|run| !run.finished) && !ends;
        let mut goes_on = false;
        if !ends {
            let components = self.stored()?;
            let as_it_is = Resume::IfUnchanged;
            let none = BTreeSet::new();
            let taken =
                resume::take_up(&state, &components, &self.configs, false, as_it_is, &none)?;
            goes_on = unfinished && taken.run.is_some();
        }
        let graph = self.open(state.lineage).await?;
        if goes_on && let Err(error) = resume::revised(&graph, &state, Changed::Refuse).await {
            graph.close().await;
            return Err(error);
        }
        Ok(graph)
    }

    /// Whether it has run with this state, as far as the state isn't known to be another file's.
    pub async fn has_state(&self, location: &StateLocation) -> Result<bool> {
        let state = location.load(&self.spec.name).await?;
        let state = state.filter(|state| state.run.is_some());
        Ok(state.is_some_and(|state| self.check_owner(location, &state).is_ok()))
    }

    /// Refuses a state in a directory that another pipeline file made. One on object storage is for any
    /// machine, where paths say nothing.
    fn check_owner(&self, location: &StateLocation, state: &PipelineState) -> Result<()> {
        match (location, &self.file) {
            (StateLocation::Directory(_), Some(file)) => {
                resume::check_owner(state, &self.spec.name, Path::new(file))
            }
            _ => Ok(()),
        }
    }

    async fn open(&self, lineage: Lineage) -> Result<Graph> {
        let scratch = Scratch::new(self.runtime.spill)?;
        let (_hand, cancel) = Cancel::new();
        let around = self.surroundings(&scratch, cancel, lineage, None);
        let empty = BTreeMap::new();
        let stats = &self.stats.components;
        Graph::open(&self.spec, &self.configs, stats, &around, &empty).await
    }

    /// What each source's last run left for its next one, if there is a state at all.
    pub async fn plan_states(
        &self,
        state: &StateLocation,
    ) -> Result<BTreeMap<ComponentId, PlanState>> {
        let state = state.load(&self.spec.name).await?;
        let sources = state.map(|state| state.sources).unwrap_or_default();
        Ok(sources
            .into_iter()
            .filter_map(|(id, source)| Some((id, source.plan?)))
            .collect())
    }

    /// Runs the pipeline: resumes an unfinished run, or begins a new one.
    ///
    /// The report tells what was done, also when the run failed. Dropping the future leaves the
    /// work of the last checkpoint, as a crash would.
    pub async fn run(&self, options: RunOptions) -> (Report, Result<()>) {
        let mut told = Told::default();
        let result = self.run_leased(&options, &mut told).await;
        if timeout(ENDING, told.kept.end()).await.is_err() {
            tracing::warn!("what the run kept open didn't end within {ENDING:?}");
        }
        let (status, result) = match result {
            Ok(status) => (status, Ok(())),
            Err(error) => (Status::Failed, Err(error)),
        };
        let none = vec![None; self.spec.components.len()];
        let given = self.given.get().unwrap_or(&none);
        let limit = self.spec.options.rejected_limit;
        let report = Report::new(&self.spec.name, told, status, &self.stats, given, limit);
        (report, result)
    }

    async fn run_leased(&self, options: &RunOptions, told: &mut Told) -> Result<Status> {
        // A misspelt name is told before anything is made.
        options.refresh.sources(&self.spec)?;
        let store = options.state.open().await?;
        let mut stop = options.stop.clone();
        // Dropped with the run's future: the pipeline is free at once.
        let hold = tokio::select! {
            biased;
            hold = store.acquire(&self.spec.name) => hold?,
            // It may take a while to see that another holder is dead.
            Ok(_) = stop.wait_for(|stop| *stop) => return Ok(Status::Stopped),
        };
        let fence = hold.fence();
        let result = self.run_attempts(options, &store, fence, told).await;
        if matches!(result, Err(_) | Ok(Status::Abandoned)) {
            self.tidy(&store, fence).await;
        }
        if let Err(error) = hold.release().await {
            tracing::warn!(%error, "the pipeline could not be given back");
        }
        result
    }

    async fn run_attempts(
        &self,
        options: &RunOptions,
        store: &Arc<dyn StateStore>,
        fence: Fence,
        told: &mut Told,
    ) -> Result<Status> {
        let mut resume = options.resume;
        let mut begun = None;
        let mut failures = 0;
        let mut changes = HashSet::new();
        loop {
            let epochs = self.stats.epochs();
            self.stats.add_attempt();
            let result = self
                .attempt(options, store, fence, &mut resume, &mut begun, told)
                .await;
            let error = match result {
                Ok(Outcome::Completed) => return Ok(Status::Completed),
                Ok(Outcome::Stopped {
                    committed,
                    exhausted: why,
                }) => {
                    told.exhausted = why;
                    return Ok(match committed {
                        true => Status::Stopped,
                        false => Status::Abandoned,
                    });
                }
                Ok(Outcome::SchemaChanged(None)) => continue,
                Ok(Outcome::SchemaChanged(Some(why))) => {
                    // A change that is met again, at the same place, wasn't learnt and never will be.
                    if !changes.insert(format!("{why:?}")) {
                        return Err(why);
                    }
                    tracing::info!(error = %why, "resuming from the last checkpoint");
                    continue;
                }
                Err(error) => error,
            };
            if error.kind() == ErrorKind::Exhausted {
                told.exhausted = Some(error);
                return Ok(Status::Stopped);
            }
            if self.stats.epochs() > epochs {
                failures = 0;
            }
            let retry::Action::Retry(asked) = retry::action(&error) else {
                return Err(match error.kind() {
                    ErrorKind::RateLimited { .. } => error.hint(format!(
                        "the server asks for a wait of more than {}, which is not kept; run it again later",
                        Span(retry::LONGEST_WAIT)
                    )),
                    _ => error,
                });
            };
            let attempts = self.runtime.attempts;
            let Some(delay) = retry::backoff(attempts).nth(failures) else {
                return Err(error);
            };
            failures += 1;
            let wait = asked.unwrap_or(delay);
            tracing::warn!(%error, wait = tidegate_core::Span(wait).rounded(), "starting again from the last checkpoint");
            let mut stop = options.stop.clone();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // What came after the last checkpoint is given up with the attempt that failed.
                Ok(_) = stop.wait_for(|stop| *stop) => return Ok(Status::Abandoned),
            }
        }
    }

    /// One attempt: recover, open, run. `resume` is what is still to be done of what the user asked
    /// for: once that is stored, further attempts only go on.
    async fn attempt(
        &self,
        options: &RunOptions,
        store: &Arc<dyn StateStore>,
        fence: Fence,
        resume: &mut Resume,
        begun: &mut Option<RunId>,
        told: &mut Told,
    ) -> Result<Outcome> {
        let scratch = Scratch::new(self.runtime.spill)?;
        let (canceller, cancel) = Cancel::new();
        let name = &self.spec.name;
        let Some(state) = store.load(name).await? else {
            return Err(Error::internal("the pipeline was taken, but has no state"));
        };
        if !options.adopt {
            self.check_owner(&options.state, &state)?;
        }
        let records = self.records(store, fence);
        let mut around = self.surroundings(&scratch, cancel, state.lineage, Some(records));
        around.executor = Executor::local_of(&options.executors)?;
        let had_stored_end = state.epochs.iter().any(|epoch| epoch.last);
        let unfinished =
            |state: &PipelineState| state.run.as_ref().is_some_and(|run| !run.finished);
        let mut refreshed = options.refresh.sources(&self.spec)?;
        // The same command goes on with the refresh that it began, unless that is given up.
        let continues = *resume != Resume::Restart && unfinished(&state);
        if continues
            && state
                .run
                .as_ref()
                .is_some_and(|run| run.refreshed == refreshed)
        {
            refreshed.clear();
        }
        let restart = *resume == Resume::Restart && unfinished(&state) && !had_stored_end;
        let anyway = *resume == Resume::Anyway;
        let is_gone = |sink: &ComponentId| !self.spec.components.iter().any(|c| c.id == *sink);
        let gives_up = |sink: &ComponentId| restart || (anyway && is_gone(sink));
        let state = recover::recover(&around, store, fence, gives_up)
            .await?
            .unwrap_or(state);
        told.run = state.run.as_ref().map(|run| run.id);
        if !unfinished(&state) && told.run.is_some() && told.run == told.worked_on {
            // The attempt before came to the end, and failed only then.
            return Ok(Outcome::Completed);
        }
        if had_stored_end && *resume != Resume::Restart && refreshed.is_empty() {
            // The process before died between its last checkpoint and the end of its commit.
            told.resumed = true;
            return Ok(Outcome::Completed);
        }

        let components = self.stored()?;
        let configs = &self.configs;
        let taken = resume::take_up(&state, &components, configs, restart, *resume, &refreshed)?;
        let file = self.file.clone();
        let owner = state.run.as_ref().and_then(|run| run.file.as_ref());
        if let (StateLocation::Directory(_), Some(owner), Some(file)) =
            (&options.state, owner, &file)
            && !resume::is_same_file(owner.as_ref(), file.as_ref())
        {
            tracing::warn!(from = %owner, to = %file, "the state belongs to another pipeline file now");
        }
        match taken.run {
            Some((run, changed)) => {
                told.resumed |= *begun != Some(run.id);
                let moved = file.is_some() && run.file != file;
                if changed || moved {
                    let run = RunState {
                        components,
                        file: file.or_else(|| run.file.clone()),
                        ..run.clone()
                    };
                    store
                        .apply(name, fence, Change::Reconfigure { run })
                        .await?;
                }
            }
            None => {
                let fresh = new_run(components, file, refreshed.clone());
                *begun = Some(fresh.id);
                store
                    .apply(name, fence, Change::BeginRun { run: fresh })
                    .await?;
            }
        }
        for source in taken.forgotten {
            tracing::warn!(component = %source, "what it remembers is forgotten: it reads everything");
            store.apply(name, fence, Change::Forget { source }).await?;
        }

        *resume = Resume::IfUnchanged;

        let Some(state) = store.load(name).await? else {
            return Err(Error::internal("the pipeline's state is gone"));
        };
        let Some(current) = &state.run else {
            return Err(Error::internal("the run that was begun is gone"));
        };
        told.run = Some(current.id);
        told.worked_on = told.run;
        let around = Surroundings {
            run: current.id,
            kept: Some(told.kept.clone()),
            ..around
        };
        let schemas: BTreeMap<ComponentId, _> = state
            .sources
            .iter()
            .map(|(id, source)| (id.clone(), source.schemas.clone()))
            .collect();
        let opened = Graph::open(
            &self.spec,
            &self.configs,
            &self.stats.components,
            &around,
            &schemas,
        );
        let mut stop = options.stop.clone();
        let graph = tokio::select! {
            biased;
            // A component may have to wait for its upstream.
            Ok(_) = stop.wait_for(|stop| *stop) => {
                return Ok(Outcome::Stopped {
                    committed: true,
                    exhausted: None,
                });
            }
            graph = opened => graph?,
        };
        let _ = self.given.set(graph.given());
        if !refreshed.is_empty() {
            refresh::say(&graph, &refreshed);
        }
        let looked = resume::look_again(&graph, store, name, fence, state, options.changed);
        let state = tokio::select! {
            biased;
            Ok(_) = stop.wait_for(|stop| *stop) => Ok(None),
            state = looked => state.map(Some),
        };
        let state = match state {
            Ok(Some(state)) => state,
            ended => {
                graph.release().await;
                return ended.map(|_| Outcome::Stopped {
                    committed: true,
                    exhausted: None,
                });
            }
        };
        let common = Arc::new(Common {
            spec: self.spec.clone(),
            schemas,
            graph: Arc::new(graph),
            around,
            stats: Arc::clone(&self.stats),
            store: Arc::clone(store),
            fence,
        });
        match Attempt::new(&common, state, &options.executors, canceller) {
            Ok(attempt) => attempt.run(options.stop.clone()).await,
            Err(error) => {
                common.graph.release().await;
                Err(error)
            }
        }
    }

    /// Discards what a run that failed had begun, as its next attempt would do first. What can't be
    /// discarded now is then.
    async fn tidy(&self, store: &Arc<dyn StateStore>, fence: Fence) {
        let tidied = async {
            let name = &self.spec.name;
            // A process that was taken over from must not touch what its successor has begun.
            store.verify(name, fence).await?;
            let state = store.load(name).await?;
            // Commits that failed are the next run's: trying them again here would only take time.
            let Some(state) = state.filter(|state| state.epochs.is_empty()) else {
                return Ok(());
            };
            let scratch = Scratch::new(self.runtime.spill)?;
            let (_hand, cancel) = Cancel::new();
            let records = self.records(store, fence);
            let around = self.surroundings(&scratch, cancel, state.lineage, Some(records));
            recover::recover(&around, store, fence, |_| false)
                .await
                .map(drop)
        };
        if let Err(error) = tidied.await {
            tracing::debug!(%error, "what the run had begun is left for the next one to discard");
        }
    }

    fn stored(&self) -> Result<Vec<StoredComponent>> {
        self.spec
            .components
            .iter()
            .zip(&self.configs)
            .map(|(spec, config)| store(config, spec))
            .collect()
    }

    fn records(&self, store: &Arc<dyn StateStore>, fence: Fence) -> Arc<dyn Records> {
        Arc::new(StateRecords {
            state: Arc::clone(store),
            fence,
            pipeline: self.spec.name.as_str().into(),
        })
    }

    fn surroundings(
        &self,
        scratch: &Scratch,
        cancel: Cancel,
        lineage: Lineage,
        records: Option<Arc<dyn Records>>,
    ) -> Surroundings {
        Surroundings {
            pipeline: self.spec.name.as_str().into(),
            base: self.spec.base.as_path().into(),
            lineage,
            run: RunId::new(),
            executor: 0,
            runtime: self.runtime.clone(),
            settings: Arc::clone(&self.settings),
            registry: Arc::clone(&self.registry),
            scratch: scratch.path().into(),
            spill: scratch.room(),
            cancel,
            records,
            cuts: Arc::default(),
            kept: None,
        }
    }
}

impl Graph {
    fn given(&self) -> Vec<Option<Given>> {
        self.nodes
            .iter()
            .map(|node| match &node.body {
                Body::Sink { given, .. } => Some(given.clone()),
                _ => None,
            })
            .collect()
    }
}
