//! `tidegate run`.

use std::path::Path;
use std::sync::Arc;

use tidegate::core::Changed;
use tidegate::runtime::RunStats;
use tidegate::{Error, Report, Result, Resume, RunOptions};
use tokio::sync::watch;

use super::args::{ChangedInput, Global, LogFormat, RunArgs};
use super::progress::Progress;
use super::{errors, exit, load, summary};

/// Runs the pipeline, and shows what it does and did.
pub(crate) fn run(global: &Global, args: RunArgs) -> u8 {
    let ready = match load::load(global, &args.pipeline, args.workers) {
        Ok(ready) => ready,
        Err(code) => return code,
    };
    let threads = match load::io_threads() {
        Ok(threads) => threads,
        Err(error) => {
            errors::print(
                global,
                &Error::io("the threads for I/O can't be started", error),
                None,
            );
            return exit::FAILED;
        }
    };
    let ended = threads.block_on(async {
        let (asked, stop) = watch::channel(false);
        let stats = ready.pipeline.stats();
        let signals = tokio::spawn(listen(asked, stats, global.quiet, global.log_format));
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
        let state = ready.state().await?;
        let progress = Progress::start(global, ready.pipeline.stats());
        let options = RunOptions {
            state,
            resume,
            changed,
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
    threads.shutdown_background();
    let (report, result) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            errors::print(global, &error, Some(&ready.document));
            return exit::of_error(&error);
        }
    };

    let mut code = match &result {
        Ok(()) => exit::of_report(&report),
        // Nothing was wrong with the file when it was checked: it was too little for these rows.
        Err(_) if report.components.iter().any(|one| one.rows_out > 0) => exit::FAILED,
        Err(error) => exit::of_error(error),
    };
    summary::print(global, &report);
    if let Err(error) = &result {
        errors::print(global, error, Some(&ready.document));
    }
    if let Some(path) = &args.report
        && let Err(error) = write_report(path, &report)
    {
        errors::print(global, &error, None);
        code = code.max(exit::FAILED);
    }
    code
}

fn write_report(path: &Path, report: &Report) -> Result<()> {
    let json = serde_json::to_string_pretty(report)
        .map_err(|error| Error::internal("the report can't be written").because(error))?;
    std::fs::write(path, json + "\n").map_err(|error| {
        Error::io("the report can't be written", error).with("path", path.display())
    })
}

/// The first signal asks for an end in good order; the second ends the process at once.
#[expect(clippy::print_stderr, reason = "this is the program's own output")]
async fn listen(asked: watch::Sender<bool>, stats: Arc<RunStats>, quiet: bool, format: LogFormat) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        tracing::warn!("signals can't be listened to; Ctrl-C ends the process at once");
        return;
    };
    let mut count = 0;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        count += 1;
        if count > 1 {
            // What is committed is safe; the next run resumes from there.
            std::process::exit(i32::from(exit::STOPPED));
        }
        let told = match stats.commits_parts() {
            Some(true) => "stopping after a last commit; once more stops at once",
            Some(false) => {
                "stopping without a commit, because this run is committed only as a whole; once \
                 more stops at once"
            }
            None => "stopping; once more stops at once",
        };
        match format {
            _ if quiet => {}
            LogFormat::Text => eprintln!("{told}"),
            LogFormat::Json => errors::log("INFO", told, serde_json::Value::Null),
        }
        let _ = asked.send(true);
    }
}
