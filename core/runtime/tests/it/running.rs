//! A run that continues beside its test.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::Result;
use tidegate_runtime::{Report, RunStats, Status};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::World;

/// See the module.
pub struct Running {
    pub stop: watch::Sender<bool>,
    pub run: JoinHandle<(Report, Result<()>)>,
    pub stats: Arc<RunStats>,
}

impl Running {
    pub fn start(world: &World) -> Self {
        let (stop, options) = world.run_options();
        let pipeline = world.pipeline().unwrap();
        let stats = pipeline.stats();
        let run = tokio::spawn(async move { pipeline.run(options).await });
        Self { stop, run, stats }
    }

    /// A run that hangs fails the test.
    pub async fn end(self) -> (Report, Result<()>) {
        let ended = tokio::time::timeout(Duration::from_secs(60), self.run).await;
        ended.unwrap().unwrap()
    }

    pub async fn complete(self) {
        let (report, result) = self.end().await;
        result.unwrap();
        assert_eq!(report.status, Status::Completed);
    }

    pub async fn stop(self) -> Report {
        self.stop.send(true).unwrap();
        let (report, result) = self.run.await.unwrap();
        result.unwrap();
        report
    }

    pub fn rows_out(&self, component: usize) -> u64 {
        self.stats.components[component].rows_out()
    }
}
