//! What commands of the lake share: the settings, the catalog, threads, Ctrl-C.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate::core::{Catalog, Context};
use tidegate::{Error, Result, config};

use super::args::{Global, LakeArgs};
use super::{errors, exit};

/// The settings, and what can be opened with them.
pub(crate) struct Ground {
    pub(crate) cx: Context,
    catalog: Option<String>,
}

impl Ground {
    /// Reads the settings; what is wrong was printed when this gives a code.
    pub(crate) fn read(global: &Global, args: &LakeArgs) -> Result<Self, u8> {
        let registry = tidegate::registry().map_err(|error| {
            errors::print(global, &error, None);
            exit::of_error(&error)
        })?;
        let settings = config::load_settings(args.settings.clone(), &registry);
        let settings = settings.map_err(|diagnostics| {
            errors::print_diagnostics(global, &diagnostics);
            exit::USAGE
        })?;
        let opened = base().and_then(|base| Context::detached(&base, Arc::new(settings)));
        match opened {
            Ok(cx) => Ok(Self {
                cx,
                catalog: args.catalog.clone(),
            }),
            Err(error) => {
                errors::print(global, &error, None);
                Err(exit::of_error(&error))
            }
        }
    }

    /// Opens the catalog: that of `--catalog`, of `[catalog]` in the settings, or `local`.
    pub(crate) async fn catalog(&self) -> Result<Arc<dyn Catalog>> {
        let mut table: Map<String, Value> = self.cx.settings("catalog")?;
        let set = match table.remove("type") {
            None => None,
            Some(Value::String(tag)) => Some(tag),
            Some(_) => {
                return Err(Error::config("the `type` of `[catalog]` is no text")
                    .hint("write type = \"local\" or type = \"glue\""));
            }
        };
        let tag = match (&self.catalog, set) {
            (Some(wanted), Some(set)) if *wanted == set => set,
            // The keys of one catalog mean nothing to another.
            (Some(wanted), _) => {
                table.clear();
                wanted.clone()
            }
            (None, set) => set.unwrap_or_else(|| "local".to_owned()),
        };
        let config = tidegate::registry()?.catalog(&tag, Value::Object(table))?;
        config.validate()?;
        config.open(&self.cx).await
    }
}

fn base() -> Result<PathBuf> {
    std::env::current_dir().map_err(|error| Error::io("the current folder can't be found", error))
}

/// Runs a future on a thread for each core; `None` if Ctrl-C came before its end. It is dropped
/// then.
pub(crate) fn on_all_cores<T>(work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(2))
        .thread_name("query")
        .thread_stack_size(tidegate::STACK_SIZE)
        .enable_all()
        .build()
        .map_err(|error| Error::io("the threads can't be started", error))?;
    let result = threads.block_on(async {
        tokio::select! {
            result = work => result.map(Some),
            Ok(()) = tokio::signal::ctrl_c() => Ok(None),
        }
    });
    threads.shutdown_background();
    result
}

/// The exit code of a command that was stopped.
pub(crate) fn stopped(global: &Global) -> u8 {
    use std::io::Write as _;
    if !global.quiet {
        let _ = writeln!(std::io::stderr().lock(), "stopped");
    }
    exit::STOPPED
}
