//! Messages between processes: the length of a JSON text in four bytes, the most significant first,
//! then the text.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow_schema::Schema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_core::{ComponentId, Epoch, Error, Lineage, PipelineSpec, Result, RunId, StreamName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::message::{Command, Said};
use crate::graph::{Answer, Question};
use crate::stats::Counted;

/// How often an executor says what it has counted, if nothing else: so it is known to be alive.
pub(super) const COUNTED_EVERY: Duration = Duration::from_secs(1);

/// What an executor in another process is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToExecutor {
    /// An attempt begins.
    Open(Box<Opening>),
    Command(Command),
    /// To the question with this number.
    Answer(u64, Result<Answer>),
    /// The attempt is over.
    Close,
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromExecutor {
    Said(Said),
    Ask(u64, Question),
    Counted(Counted),
    /// All of an attempt has ended.
    Closed,
}

/// With what an executor in another process begins an attempt.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opening {
    pub(super) spec: PipelineSpec,
    pub(super) settings: Map<String, Value>,
    pub(super) lineage: Lineage,
    pub(super) run: RunId,
    pub(super) executor: u32,
    pub(super) epoch: Epoch,
    pub(super) full: Option<u64>,
    /// Those that streams changed to in this run.
    pub(super) schemas: BTreeMap<ComponentId, BTreeMap<StreamName, Schema>>,
    /// The streams as the coordinator has them, and what is asked of each.
    pub(super) streams: Value,
}

/// Writes what it is given, until nobody gives any more.
pub(super) async fn write<T: Serialize>(
    mut frames: mpsc::UnboundedReceiver<T>,
    mut output: impl AsyncWrite + Unpin,
) -> Result<()> {
    let failed = |error| Error::io("a message could not be sent", error);
    while let Some(frame) = frames.recv().await {
        let text = serde_json::to_vec(&frame)
            .map_err(|error| Error::internal("a message is no JSON").because(error))?;
        let length = u32::try_from(text.len())
            .map_err(|error| Error::internal("a message is too long").because(error))?;
        output
            .write_all(&length.to_be_bytes())
            .await
            .map_err(failed)?;
        output.write_all(&text).await.map_err(failed)?;
        if frames.is_empty() {
            output.flush().await.map_err(failed)?;
        }
    }
    output.shutdown().await.map_err(failed)
}

/// Reads the next message; `None` where the input ends between two.
pub(super) async fn read<T: DeserializeOwned>(
    input: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>> {
    let failed = |error| Error::io("a message could not be received", error);
    let mut length = [0; 4];
    if input.read(&mut length[..1]).await.map_err(failed)? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut length[1..]).await.map_err(failed)?;
    let length = u64::from(u32::from_be_bytes(length));
    let mut text = Vec::new();
    // Not all at once: a length that is none would ask for more memory than there is.
    let read = input.take(length).read_to_end(&mut text).await;
    if read.map_err(failed)? as u64 != length {
        return Err(Error::transient("a message broke off"));
    }
    let message = serde_json::from_slice(&text).map_err(|error| {
        Error::internal("what came isn't a message")
            .hint(
                "both processes have to be of one version, and nothing else may write to what \
                 they speak over",
            )
            .because(error)
    })?;
    Ok(Some(message))
}
