//! A sink that shows its rows exactly once, by way of staged files.

use std::sync::Arc;

use arrow_array::RecordBatch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate::core::{
    Commit, Delivery, Prepared, Recovery, Rejected, Result, Sealed, Sink, SinkConfig, SinkContext,
    SinkWriter, Token, WriterId, async_trait, register_sink, typetag,
};
use tidegate_formats::row_to_json;
use tidegate_storage::{Access, Location, Staged, StagedToken, StagedWriter, Storage};

/// Files of JSON lines, one a writer and epoch. They appear when their epoch is committed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinesConfig {
    /// The folder, relative to the pipeline file.
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
        Ok(Arc::new(Lines {
            storage,
            cx: cx.clone(),
        }))
    }
}

#[derive(Debug)]
struct Lines {
    storage: Storage,
    cx: SinkContext,
}

#[async_trait]
impl Sink for Lines {
    fn delivery(&self) -> Delivery {
        Delivery::TwoPhase
    }

    /// Names never repeat: an epoch's number is used once in a lineage.
    async fn writer(&self, id: WriterId) -> Result<Box<dyn SinkWriter>> {
        let key = format!("{}-{id}.ndjson", self.cx.common.lineage.short());
        let token = self.storage.begin(&key).await?;
        // Noted before the first byte, so that a crash leaves nothing that nobody knows of.
        let journal = &self.cx.journal;
        journal.begin(id.epoch, Token::encode(&token)?).await?;
        Ok(Box::new(LinesWriter(self.storage.create(&token).await?)))
    }

    /// What has appeared before is left alone, so this may be replayed.
    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        let staged = commit.prepared.iter().map(Prepared::decode);
        let staged = staged.collect::<Result<Vec<Staged>>>()?;
        self.storage.publish(&staged).await
    }

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        let kept = recovery.keep.iter().map(Prepared::decode);
        let kept = kept.collect::<Result<Vec<Staged>>>()?;
        let begun = recovery.begun.iter().map(Token::decode);
        let mut begun = begun.collect::<Result<Vec<StagedToken>>>()?;
        begun.retain(|token| !kept.iter().any(|staged| staged.token == *token));
        self.storage.discard(&begun).await
    }
}

struct LinesWriter(Box<dyn StagedWriter>);

#[async_trait]
impl SinkWriter for LinesWriter {
    async fn write(&mut self, _: usize, batch: RecordBatch) -> Result<Rejected> {
        let mut lines = String::new();
        for row in 0..batch.num_rows() {
            lines += &row_to_json(&batch, row)?;
            lines.push('\n');
        }
        self.0.write(lines.into()).await?;
        Ok(Rejected::default())
    }

    async fn prepare(self: Box<Self>) -> Result<Sealed> {
        let staged = self.0.finish().await?;
        Ok(Sealed {
            prepared: Some(Prepared::encode(&staged)?),
            ..Sealed::default()
        })
    }

    /// Its token is in the journal: `recover` discards what is left of it.
    async fn abandon(self: Box<Self>) {}
}
