//! What is done to a batch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ahash::RandomState;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_buffer::BooleanBufferBuilder;
use arrow_schema::SchemaRef;
use arrow_select::filter::filter_record_batch;
use tidegate_core::{ComponentId, Input, Map, Mapped, Result, Scan};

use super::keys::Keys;
use super::seen::{Limits, Seen};
use crate::inputs::Inputs;

/// The transform, typed against its inputs, with what it has seen.
#[derive(Debug)]
pub(super) struct DedupeMap {
    id: ComponentId,
    inputs: Inputs,
    keys: Keys,
    hasher: RandomState,
    memory: Mutex<Memory>,
}

/// What all threads share. Keys are made and hashed before it is locked.
#[derive(Debug)]
struct Memory {
    seen: Seen,
    /// Whether it was said that there is not enough of it.
    warned: bool,
}

impl DedupeMap {
    pub(super) fn new(
        key: Option<&[String]>,
        limits: Limits,
        id: &ComponentId,
        inputs: &[Input],
    ) -> Result<Self> {
        let inputs = Inputs::new(inputs)?;
        let hasher = RandomState::new();
        Ok(Self {
            id: id.clone(),
            keys: Keys::new(key, &inputs.as_one())?,
            inputs,
            memory: Mutex::new(Memory {
                seen: Seen::new(limits, hasher.clone()),
                warned: false,
            }),
            hasher,
        })
    }
}

impl Map for DedupeMap {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.inputs.schema())
    }

    fn deterministic(&self) -> bool {
        false
    }

    fn scan(&self, input: usize) -> Scan {
        self.inputs.scan(input)
    }

    fn map(&self, _: usize, batch: &RecordBatch) -> Result<Mapped> {
        let keys = self.keys.of(batch)?;
        let hashes = keys.iter().map(|key| self.hasher.hash_one(key.data()));
        let hashes: Vec<u64> = hashes.collect();
        let mut new = BooleanBufferBuilder::new(batch.num_rows());
        {
            // Nothing in here calls others' code: a thread that panicked elsewhere left it whole.
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.seen.tick(Instant::now());
            for (key, hash) in keys.iter().zip(hashes) {
                new.append(memory.seen.insert(hash, key.data()));
            }
            if memory.seen.was_short() && !memory.warned {
                memory.warned = true;
                tracing::warn!(
                    component = %self.id,
                    keys = memory.seen.len(),
                    bytes = memory.seen.memory(),
                    "there is no memory for more keys: the oldest are forgotten earlier than asked for"
                );
            }
        }
        let new = BooleanArray::new(new.finish(), None);
        let columns = self.inputs.columns(batch)?;
        let rows = RecordBatch::try_new(self.schema(), columns)?;
        let rows = match new.true_count() {
            0 => return Ok(Mapped::default()),
            all if all == rows.num_rows() => rows,
            _ => filter_record_batch(&rows, &new)?,
        };
        Ok(Mapped {
            batches: vec![rows],
            ..Mapped::default()
        })
    }
}
