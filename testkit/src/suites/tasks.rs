//! A runtime of a check's own, on which what was left behind can be counted.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate_core::{Error, Result};

use super::check::Outcome;

const WORKERS: usize = 2;

/// The workers, and the thread that runs the check itself.
const THREADS: usize = WORKERS + 1;

/// Runs `check` on a tokio runtime of its own, in a thread of its own.
pub(super) async fn isolated<F, Fut>(check: F) -> Outcome
where
    F: FnOnce(Lingering) -> Fut + Send + 'static,
    Fut: Future<Output = Outcome>,
{
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (send, receive) = futures::channel::oneshot::channel();
    // Threads without a name inherit that of the thread that starts them (Linux), and so do
    // tokio's: this is how those that the component starts are told from all others.
    let name = format!("tgate-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let thread = std::thread::Builder::new().name(name.clone());
    let started = thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name(&name)
            .thread_keep_alive(Duration::from_millis(20))
            .enable_all()
            .build();
        let outcome = match runtime {
            Ok(runtime) => {
                let outcome = runtime.block_on(check(Lingering { name }));
                runtime.shutdown_background();
                outcome
            }
            Err(error) => Err(Error::io("a runtime can't be started", error).into()),
        };
        // The receiver is gone only where the suite was dropped.
        let _ = send.send(outcome);
    });
    started.map_err(|error| Error::io("a thread can't be started", error))?;
    match receive.await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::internal("the check panicked; see above").into()),
    }
}

/// Counts the tasks and threads that live on the check's runtime.
pub(super) struct Lingering {
    name: String,
}

impl Lingering {
    /// How many tasks and additional threads there are.
    pub(super) fn count(&self) -> Result<usize> {
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        Ok(tasks + self.threads()?.saturating_sub(THREADS))
    }

    /// Waits until no more than `most` are left; gives how many are left at the deadline.
    pub(super) async fn settle(&self, most: usize) -> Result<usize> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left = self.count()?;
            if left <= most || Instant::now() > deadline {
                return Ok(left);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[cfg(target_os = "linux")]
    fn threads(&self) -> Result<usize> {
        let directory = std::fs::read_dir("/proc/self/task")
            .map_err(|error| Error::io("the threads can't be counted", error))?;
        let names = directory
            .flatten()
            // A thread that ended meanwhile has no name any more.
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        Ok(names.filter(|name| name.trim_end() == self.name).count())
    }

    #[cfg(not(target_os = "linux"))]
    fn threads(&self) -> Result<usize> {
        Ok(THREADS)
    }
}
