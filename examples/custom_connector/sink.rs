//! A sink that shows its rows exactly once, by way of staged files.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate::core::{
    Commit, CpuWriter, Delivery, Epoch, Recovery, Rejected, Result, Sink, SinkBatch, SinkConfig,
    SinkContext, SinkEpoch, async_trait, register_sink, typetag,
};
use tidegate_formats::row_to_json;
use tidegate_staged::{Destination, Files, Format, Outlet};
use tidegate_storage::{Access, Location, Storage};

/// Files of JSON lines. They appear when their epoch is committed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinesConfig {
    /// The directory, relative to the pipeline file.
    pub(crate) url: String,
}

register_sink!("lines", LinesConfig);

#[async_trait]
#[typetag::serde(name = "lines")]
impl SinkConfig for LinesConfig {
    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        let location = Location::parse(&self.url, &cx.common.base)?;
        let storage = Storage::open(&location, &Access::of(&cx.common, None)?).await?;
        storage.check_writable().await?;
        let destination = Destination::new(storage, None, 128 << 20, cx);
        Ok(Arc::new(Lines(destination)))
    }
}

/// Commits and recovers as all staged files do.
#[derive(Debug)]
struct Lines(Arc<Destination>);

#[async_trait]
impl Sink for Lines {
    fn delivery(&self) -> Delivery {
        Delivery::TwoPhase
    }

    async fn epoch(&self, id: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        Ok(Arc::new(self.0.epoch(id, LinesFormat)))
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        self.0.commit::<()>(commit).await
    }

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        self.0.recover::<()>(recovery).await
    }
}

/// One file at a time, which needs no encoder.
#[derive(Debug)]
struct LinesFormat;

impl Format for LinesFormat {
    type Key = ();
    type Encoder = ();
    type About = ();

    fn name(&self, (): &(), unique: &str) -> String {
        format!("{unique}.ndjson")
    }

    fn about(&self, (): &()) {}

    fn begin(&self, (): &(), _: &mut Outlet) -> Result<()> {
        Ok(())
    }

    fn end(&self, (): (), _: &mut Outlet) -> Result<()> {
        Ok(())
    }

    fn writer(files: &Arc<Files<Self>>) -> Result<Box<dyn CpuWriter>> {
        Ok(Box::new(LinesWriter(Arc::clone(files))))
    }
}

struct LinesWriter(Arc<Files<LinesFormat>>);

impl CpuWriter for LinesWriter {
    fn write(&mut self, batch: SinkBatch) -> Result<Rejected> {
        let mut lines = String::new();
        for row in 0..batch.rows.num_rows() {
            lines += &row_to_json(&batch.rows, row)?;
            lines.push('\n');
        }
        let more = lines.len() as u64;
        self.0.append(&(), more, |(), out| {
            out.send(lines);
            Ok(())
        })?;
        Ok(Rejected::default())
    }

    fn finish(self: Box<Self>) -> Result<Rejected> {
        Ok(Rejected::default())
    }
}
