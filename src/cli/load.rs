//! From the arguments to a pipeline.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};
use tidegate::config::{self, Document, LoadOptions};
use tidegate::core::printable;
use tidegate::{ErrorKind, Pipeline, StateLocation};

use super::args::{Global, PipelineArgs};
use super::{errors, exit, memory};

const STATE: &str = StateLocation::DIRECTORY;

/// A pipeline that was loaded, and the file that it came from.
pub(crate) struct Ready {
    pub(crate) pipeline: Pipeline,
    pub(crate) document: Document,
    settings: Map<String, Value>,
    state: Option<String>,
}

impl Ready {
    /// Opens the place of the state.
    pub(crate) async fn state(&self) -> tidegate::Result<StateLocation> {
        let place = self.state.as_deref();
        let settings = self.settings.get("runtime");
        let settings = || settings?.get("state")?.as_str();
        let Some(place) = place.or_else(settings) else {
            return self.usual_state().await;
        };
        let base = &self.pipeline.spec().base;
        tidegate::state_at(place, base, &self.settings).await
    }

    /// The place of the state where none is named: beside the pipeline file, from wherever it is run.
    /// Earlier versions had it in the current directory: what lies there is used.
    async fn usual_state(&self) -> tidegate::Result<StateLocation> {
        let spec = self.pipeline.spec();
        let here = StateLocation::default();
        let real = |directory: &Path| directory.canonicalize().ok();
        let directory = match spec.base.as_os_str().is_empty() {
            true => Path::new("."),
            false => &spec.base,
        };
        if real(directory).is_some_and(|directory| real(Path::new(".")) == Some(directory)) {
            return Ok(here);
        }
        let beside = directory.join(STATE);
        if !self.pipeline.has_state(&here).await? {
            return Ok(beside.into());
        }
        let (name, shown) = (printable::line(&spec.name), beside.display());
        let beside = StateLocation::from(beside.as_path());
        if self.pipeline.has_state(&beside).await? {
            tracing::warn!(
                "there are two states of `{name}`: that beside the pipeline file, {shown}, is used, \
                 and not the one in {STATE} of the current directory"
            );
            return Ok(beside);
        }
        tracing::warn!(
            "the state of `{name}` is that in {STATE} of the current directory; a run from another \
             directory looks for it in {shown}: name it with --state, or move it there"
        );
        Ok(here)
    }
}

/// What kept a pipeline from being loaded. It was printed.
pub(crate) struct Refused {
    pub(crate) code: u8,
    /// Each error, as a report has it.
    pub(crate) errors: Vec<Value>,
}

/// Loads the pipeline.
pub(crate) fn load(
    global: &Global,
    args: &PipelineArgs,
    workers: Option<std::num::NonZeroUsize>,
) -> Result<Ready, Refused> {
    let fail = |error: tidegate::Error, document: Option<&Document>| {
        errors::print(global, &error, document);
        Refused {
            code: exit::of_error(&error),
            errors: vec![errors::reported(&error, document)],
        }
    };
    let registry = tidegate::registry().map_err(|error| fail(error, None))?;
    let options = LoadOptions {
        profile: args.layers.profile.clone(),
        sets: args.layers.sets.clone(),
        settings: args.settings.clone(),
        ..LoadOptions::new(&args.file)
    };
    let loaded = config::load(&options, &registry).map_err(|diagnostics| {
        errors::print_diagnostics(global, &diagnostics);
        let reported = |one| errors::reported_at(one, ErrorKind::Config);
        Refused {
            code: exit::USAGE,
            errors: diagnostics.iter().map(reported).collect(),
        }
    })?;
    errors::print_warnings(global, &loaded.warnings);
    let mut settings = loaded.settings;
    if let Some(workers) = workers {
        let runtime = settings
            .entry("runtime")
            .or_insert_with(|| serde_json::json!({}));
        if let Some(table) = runtime.as_object_mut() {
            table.insert("workers".to_owned(), workers.get().into());
        }
    }
    let (spec, configs) = (loaded.spec, loaded.configs);
    let pipeline = Pipeline::with_configs(spec, configs, registry, settings.clone())
        .map_err(|error| fail(error, Some(&loaded.document)))?
        .from_file(&args.file);
    memory::watch(
        global,
        pipeline.process_memory(),
        "raise `process_memory` in `[runtime]` if the rows need it; what was committed stays, and the next run resumes",
    );
    Ok(Ready {
        pipeline,
        document: loaded.document,
        settings,
        state: args.state.clone(),
    })
}

/// Ends threads. What still blocks one of them (a read of the standard input) is waited for only a moment.
///
/// Not by `shutdown_background`: it detaches threads that are just ending, whose stacks, as large as ours are,
/// the C library unmaps at once, and `pthread_detach` may look at one after that (seen with glibc 2.36).
pub(crate) fn end_threads(threads: tokio::runtime::Runtime) {
    threads.shutdown_timeout(Duration::from_millis(500));
}

/// The threads for I/O.
pub(crate) fn io_threads() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("io")
        .thread_stack_size(tidegate::STACK_SIZE)
        .enable_all()
        .build()
}
