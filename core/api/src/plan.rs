//! What is remembered from run to run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_core::{FinishedSplit, Result};
use tidegate_formats::SchemaSpec;

use crate::Endpoint;
use crate::fetch::Known;
use crate::hash::hash;
use crate::mark::Mark;
use crate::walk::{Piece, Position};

/// The state of a plan.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// How many splits of this run have not finished.
    pub(crate) open: u64,
    /// By name, also those that are not read in this run.
    pub(crate) endpoints: BTreeMap<String, Memory>,
}

/// What is known of an endpoint that has something to remember.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// A hash of what was asked.
    question: u64,
    /// How far runs came: what the next one asks with.
    pub(crate) now: Reached,
}

/// How far reading came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reached {
    pub(crate) mark: Option<Mark>,
    pub(crate) known: Option<Known>,
}

impl State {
    /// Begins a run of an endpoint, for its own stream or `raw` or both: what it is asked with.
    pub(crate) fn begin(&mut self, endpoint: &Endpoint, streams: [bool; 2]) -> Result<Reached> {
        if endpoint.incremental.is_none() && !endpoint.conditional {
            self.endpoints.remove(endpoint.name.as_str());
            return Ok(Reached::default());
        }
        let question = question(endpoint, streams);
        let memory = self
            .endpoints
            .entry(endpoint.name.to_string())
            .or_insert_with(|| Memory {
                question,
                ..Memory::default()
            });
        if memory.question != question {
            tracing::warn!(
                stream = %endpoint.name,
                "what is asked for has changed since the last run: everything is read again"
            );
            *memory = Memory {
                question,
                ..Memory::default()
            };
        }
        Ok(memory.now.clone())
    }

    /// Takes in what the splits that have finished came to know.
    pub(crate) fn finish(&mut self, splits: &[FinishedSplit]) -> Result<()> {
        for finished in splits {
            self.open = self.open.saturating_sub(1);
            let piece: Piece = finished.split.data.decode()?;
            let memory = self.endpoints.get_mut(piece.endpoint.as_str());
            let (Some(memory), Some(offset)) = (memory, &finished.offset) else {
                continue;
            };
            let position: Position = offset.decode()?;
            memory.now.mark = match (memory.now.mark.take(), position.high) {
                (Some(one), Some(other)) => {
                    // Of two types: the newer run's counts.
                    Some(one.join(other.clone()).unwrap_or(other))
                }
                (one, other) => one.or(other),
            };
            if position.known.is_some() {
                memory.now.known = position.known;
            }
        }
        Ok(())
    }
}

/// Tells what is asked from what was asked in another configuration.
fn question(endpoint: &Endpoint, streams: [bool; 2]) -> u64 {
    // What hasn't changed isn't read again: then the rows of other columns, or of a stream that
    // wasn't read before, would never come.
    let rows = endpoint.conditional.then(|| {
        let schema = endpoint.schema.as_ref();
        (schema.map(|schema| SchemaSpec::from_arrow(schema)), streams)
    });
    let question = json!([
        asked(endpoint),
        endpoint.incremental.as_ref().map(|incremental| (
            &incremental.param,
            &incremental.field,
            incremental.format,
        )),
        rows,
    ]);
    hash(question.to_string().as_bytes())
}

/// What decides which records there are. It may be secret, and is stored only as a hash.
pub(crate) fn asked(endpoint: &Endpoint) -> Value {
    json!([
        endpoint.method.as_str(),
        endpoint.url.as_str(),
        endpoint.headers,
        endpoint.params,
        endpoint.body,
        endpoint.records.pointer,
        endpoint.records.object,
    ])
}
