//! What commands of the lake share: the settings, the catalog, threads, signals.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate::core::{Catalog, CatalogConfig, Context, guarded_async};
use tidegate::{Error, Result, config};

use super::args::{Global, LakeArgs};
use super::signals::StopSignals;
use super::{errors, exit, load};

/// Where the local catalog is if its settings don't say: from the current directory.
const LOCAL: &str = ".tidegate/catalog.db";

/// What there is of a catalog.
pub(crate) enum Look {
    Found(Arc<dyn Catalog>),
    /// Nobody has made one yet: where it was looked for.
    Missing(PathBuf),
}

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
        let (tag, table) = self.chosen()?;
        configured(&tag, table)?.open(&self.cx).await
    }

    /// The same for commands that only look. A local catalog is a file, which opening would make.
    pub(crate) async fn look(&self) -> Result<Look> {
        let (tag, table) = self.chosen()?;
        let path = table.get("path").and_then(Value::as_str);
        let path = self.cx.path(path.unwrap_or(LOCAL));
        let config = configured(&tag, table)?;
        if tag == "local" && matches!(path.try_exists(), Ok(false)) {
            return Ok(Look::Missing(path));
        }
        Ok(Look::Found(config.open(&self.cx).await?))
    }

    fn chosen(&self) -> Result<(String, Map<String, Value>)> {
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
        Ok((tag, table))
    }
}

fn configured(tag: &str, table: Map<String, Value>) -> Result<Box<dyn CatalogConfig>> {
    let config = tidegate::registry()?.catalog(tag, Value::Object(table))?;
    config.validate()?;
    Ok(config)
}

fn base() -> Result<PathBuf> {
    std::env::current_dir()
        .map_err(|error| Error::io("the current directory can't be found", error))
}

/// Ends when Ctrl-C or SIGTERM comes.
pub(crate) async fn asked_to_stop() {
    match StopSignals::listen() {
        Some(mut signals) => signals.next().await,
        None => std::future::pending().await,
    }
}

/// Runs a future on a thread for each core; `None` if Ctrl-C or SIGTERM came before its end. It is
/// dropped then.
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
            result = guarded_async("the command", work) => result.map(Some),
            () = asked_to_stop() => Ok(None),
        }
    });
    load::end_threads(threads);
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
