//! `tidegate run`.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tidegate::core::{Changed, Kind};
use tidegate::runtime::RunStats;
use tidegate::{Error, FullRefresh, Pipeline, Report, Resume, RunOptions, Status};
use tokio::sync::watch;

use super::args::{ChangedInput, Global, LogFormat, RunArgs};
use super::progress::{Progress, counted, grouped};
use super::report::{Ended, ReportFile};
use super::signals::StopSignals;
use super::{errors, exit, load, summary, terminal};

/// The report, until it is written.
type Pending = Arc<Mutex<Option<ReportFile>>>;

/// Runs the pipeline, shows what it does and did, and writes its report however it ends.
pub(crate) fn run(global: &Global, args: &RunArgs) -> u8 {
    let file = match args.report.as_deref().map(ReportFile::open).transpose() {
        Ok(file) => Arc::new(Mutex::new(file)),
        Err(error) => {
            errors::print(global, &error, None);
            return exit::of_error(&error);
        }
    };
    let ended = perform(global, args, &file);
    match write(&file, &ended) {
        Ok(()) => ended.code,
        Err(error) => {
            errors::print(global, &error, None);
            ended.code.max(exit::FAILED)
        }
    }
}

fn write(file: &Pending, ended: &Ended) -> tidegate::Result<()> {
    let file = file.lock().unwrap_or_else(PoisonError::into_inner).take();
    file.map_or(Ok(()), |file| file.end(ended))
}

fn perform(global: &Global, args: &RunArgs, file: &Pending) -> Ended {
    let ready = match load::load(global, &args.pipeline, args.workers) {
        Ok(ready) => ready,
        Err(refused) => {
            return Ended {
                code: refused.code,
                report: None,
                errors: refused.errors,
            };
        }
    };
    let never_began = |error: &Error| {
        errors::print(global, error, Some(&ready.document));
        Ended {
            code: exit::of_error(error),
            report: None,
            errors: vec![errors::reported(error, Some(&ready.document))],
        }
    };
    let threads = match load::io_threads() {
        Ok(threads) => threads,
        Err(error) => {
            return never_began(&Error::io("the threads for I/O can't be started", error));
        }
    };
    let ended = threads.block_on(async {
        let (asked, stop) = watch::channel(false);
        let stats = ready.pipeline.stats();
        let unread = asked.clone();
        let only_looked_at = only_shows(&ready.pipeline);
        // Nobody reads the rows any more: a run that does nothing else has no more to do.
        tidegate_sink_console::when_closed(move || {
            tracing::warn!(
                "the program that reads standard output has ended: no more rows are shown"
            );
            if only_looked_at {
                let _ = unread.send(true);
            }
        });
        let signals = Signals {
            asked,
            stats,
            quiet: global.quiet,
            format: global.log_format,
            file: Arc::clone(file),
        };
        let signals = tokio::spawn(signals.listen());
        let resume = match (args.resume_anyway, args.restart) {
            (true, _) => Resume::Anyway,
            (_, true) => Resume::Restart,
            _ => Resume::IfUnchanged,
        };
        let changed = match args.changed_input {
            None => Changed::Refuse,
            Some(ChangedInput::Skip) => Changed::Skip,
            Some(ChangedInput::Reread) => Changed::Reread,
            Some(ChangedInput::Resume) => Changed::Resume,
        };
        let refresh = match args.full_refresh.as_slice() {
            [] => FullRefresh::None,
            names if names.iter().any(String::is_empty) => FullRefresh::All,
            names => FullRefresh::Of(names.to_vec()),
        };
        let state = ready.state().await?;
        let progress = Progress::start(global, ready.pipeline.stats());
        let options = RunOptions {
            state,
            resume,
            changed,
            refresh,
            adopt: args.adopt,
            stop,
            ..RunOptions::default()
        };
        let ended = ready.pipeline.run(options).await;
        if let Some(progress) = progress {
            progress.end().await;
        }
        signals.abort();
        Ok::<_, Error>(ended)
    });
    load::end_threads(threads);
    let (report, result) = match ended {
        Ok(ended) => ended,
        Err(error) => return never_began(&error),
    };

    let code = match &result {
        Ok(()) => exit::of_report(&report),
        // Nothing was wrong with the file when it was checked: it was too little for these rows.
        Err(_) if report.components.iter().any(|one| one.rows_out > 0) => exit::FAILED,
        Err(error) => exit::of_error(error),
    };
    summary::print(global, &report);
    let limit = ready.pipeline.spec().options.rejected_limit;
    let error = result.err().or_else(|| over_limit(&report, limit));
    if let Some(error) = &error {
        errors::print(global, error, Some(&ready.document));
    }
    let reported = |error: &Error| errors::reported(error, Some(&ready.document));
    Ended {
        code,
        errors: error.iter().map(reported).collect(),
        report: Some(report),
    }
}

/// Whether all sinks only show rows.
fn only_shows(pipeline: &Pipeline) -> bool {
    let mut components = pipeline.spec().components.iter();
    components.all(|one| one.kind != Kind::Sink || one.tag == "console")
}

/// Why a run that is done ends with a code of its own.
fn over_limit(report: &Report, limit: Option<u64>) -> Option<Error> {
    if report.status != Status::Completed || !report.rejected_over_limit {
        return None;
    }
    let message = format!(
        "{} rejected, and `rejected_limit` is {}",
        counted(report.rejected, "row"),
        grouped(limit?)
    );
    let by = report.components.iter().filter(|one| one.rejected > 0);
    let by: Vec<_> = by
        .map(|one| format!("{} {}", one.id, one.rejected))
        .collect();
    Some(
        Error::data(message)
            .with("rejected", by.join(", "))
            .hint("all other rows are committed; `<component>.rejected` has the reasons"),
    )
}

/// What is done about Ctrl-C and SIGTERM.
struct Signals {
    asked: watch::Sender<bool>,
    stats: Arc<RunStats>,
    quiet: bool,
    format: LogFormat,
    file: Pending,
}

impl Signals {
    /// The first signal asks for an end in good order; the second ends the process at once.
    async fn listen(self) {
        let Some(mut signals) = StopSignals::listen() else {
            return;
        };
        let mut count = 0;
        loop {
            signals.next().await;
            count += 1;
            if count > 1 {
                self.end_at_once();
            }
            let told = match self.stats.commits_parts() {
                Some(true) => "stopping after a last commit; once more stops at once",
                Some(false) => {
                    "stopping without a commit, because this run is committed only as a whole; once \
                     more stops at once"
                }
                None => "stopping; once more stops at once",
            };
            match self.format {
                _ if self.quiet => {}
                LogFormat::Text => terminal::say(told),
                LogFormat::Json => errors::log("INFO", told, serde_json::Value::Null),
            }
            let _ = self.asked.send(true);
        }
    }

    /// What is committed is safe; the next run resumes from there.
    fn end_at_once(&self) -> ! {
        terminal::clear();
        let ended = Ended {
            code: exit::STOPPED,
            report: None,
            errors: vec![json!({
                "kind": "stopped",
                "message": "the process was ended at once by a second signal",
            })],
        };
        // There is nobody left to tell that it can't be written.
        let _ = write(&self.file, &ended);
        std::process::exit(i32::from(exit::STOPPED));
    }
}
