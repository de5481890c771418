//! Stages: what needs all rows of an epoch.
//!
//! A stage runs when the epoch was cut and all its rows are there, while the next epoch is filled. In
//! a run that is one epoch it begins as soon as only one of its inputs still comes, and takes that
//! one's rows as they come.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tidegate_core::{Error, Gather, Result, Rows, StageInput, Transform};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::flow::EpochSet;
use super::panics::broken;
use super::queue::Closed;
use super::shared::{Shared, closed};
use crate::graph::{Body, Graph, NodeId, PortId};

/// The stages of an epoch that have begun before its end.
#[derive(Debug, Default)]
pub(crate) struct Begun(Mutex<HashMap<NodeId, JoinHandle<Result<(), Closed>>>>);

impl Begun {
    fn has(&self, stage: NodeId) -> bool {
        self.tasks().contains_key(&stage)
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, HashMap<NodeId, JoinHandle<Result<(), Closed>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gather(graph: &Graph, id: NodeId) -> Option<(&Arc<dyn Gather>, PortId)> {
    match &graph.nodes[id].body {
        Body::Transform {
            transform: Transform::Gather(gather),
            out,
        } => Some((gather, *out)),
        _ => None,
    }
}

/// Begins every stage of which only one input still comes, and that one may be streamed. `read` are
/// the sources of which there may be more.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    set: &Arc<EpochSet>,
    cpu: &Handle,
    read: &BTreeSet<NodeId>,
) -> Result<()> {
    for &id in &shared.graph.order {
        if set.begun.has(id) {
            continue;
        }
        let Some(streamed) = shared.stages.streamable(id, read) else {
            continue;
        };
        let inputs = inputs(shared, set, id, Some(streamed))?;
        let (shared, its, handle) = (Arc::clone(shared), Arc::clone(set), cpu.clone());
        let task = cpu.spawn(async move {
            let ran = run(&shared, &its, &handle, id, inputs).await;
            ran.map_err(|error| {
                shared.fail(error.with("component", shared.id(id)));
                Closed
            })
        });
        set.begun.tasks().insert(id, task);
    }
    Ok(())
}

/// Runs every stage of an epoch that was cut to its end, in the order of the graph; their output goes
/// through the queue to the workers.
pub(crate) async fn run_all(shared: &Arc<Shared>, set: &Arc<EpochSet>, cpu: &Handle) -> Result<()> {
    for &id in &shared.graph.order {
        if gather(&shared.graph, id).is_none() {
            continue;
        }
        let begun = set.begun.tasks().remove(&id);
        if let Some(begun) = begun {
            for input in 0..shared.graph.nodes[id].inputs.len() {
                set.inlet(id, input)?.end();
            }
            begun
                .await
                .map_err(|error| broken("a stage", error))?
                .map_err(closed)?;
        } else {
            let ran = match inputs(shared, set, id, None) {
                Ok(inputs) => run(shared, set, cpu, id, inputs).await,
                Err(error) => Err(error),
            };
            ran.map_err(|error| error.with("component", shared.id(id)))?;
        }
        shared.queue.staged().await.map_err(closed)?;
    }
    Ok(())
}

/// Holds an input back of which much has come, while the others of its stage are collected, if it is
/// the largest as far as anybody knows: it is the one to be streamed.
pub(crate) fn hold_back(shared: &Shared, set: &EpochSet, id: NodeId, input: usize) {
    let Ok(inlet) = set.inlet(id, input) else {
        return;
    };
    if !shared.stages.may_hold(id, input) || !inlet.is_to_be_weighed() {
        return;
    }
    let size = |input: usize| {
        let sources = shared.stages.sources(id, input);
        let stats = sources.map(|source| &shared.graph.nodes[source].stats);
        let expected: u64 = stats.map(|stats| stats.expected_rows()).sum();
        let come = set.inlet(id, input).map_or(0, |inlet| inlet.rows());
        expected.max(come)
    };
    let mut others = (0..shared.graph.nodes[id].inputs.len()).filter(|other| *other != input);
    if others.all(|other| size(other) <= size(input)) && shared.stages.hold() {
        inlet.hold(shared);
    }
}

fn inputs(
    shared: &Arc<Shared>,
    set: &EpochSet,
    id: NodeId,
    streamed: Option<usize>,
) -> Result<Vec<StageInput>> {
    let inputs = 0..shared.graph.nodes[id].inputs.len();
    let inputs = inputs.map(|input| {
        let inlet = set.inlet(id, input)?;
        match streamed == Some(input) {
            true => inlet.streamed(shared),
            false => inlet.collected(shared),
        }
    });
    inputs.collect()
}

async fn run(
    shared: &Arc<Shared>,
    set: &Arc<EpochSet>,
    cpu: &Handle,
    id: NodeId,
    inputs: Vec<StageInput>,
) -> Result<()> {
    let Some((gather, port)) = gather(&shared.graph, id) else {
        return Ok(());
    };
    let began = Instant::now();
    let ordered = gather.ordered();
    let gather = Arc::clone(gather);
    let partitions = cpu
        .spawn(async move { gather.run(inputs).await })
        .await
        .map_err(|error| broken("a stage", error))??;
    let pumps: Vec<_> = partitions
        .into_iter()
        .enumerate()
        .map(|(partition, mut stream)| {
            let (shared, set) = (Arc::clone(shared), Arc::clone(set));
            cpu.spawn(async move {
                while let Some(batch) = stream.next().await {
                    let rows = Rows::Batch(batch?);
                    if shared
                        .queue
                        .push_stage(&set, port, partition, ordered, rows)
                        .await
                        .is_err()
                    {
                        break;
                    }
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    // When one fails, the others are dropped with the runtime.
    for pump in pumps {
        pump.await.map_err(|error| broken("a stage", error))??;
    }
    let mut waited = Duration::ZERO;
    for input in 0..shared.graph.nodes[id].inputs.len() {
        waited += set.inlet(id, input)?.waited();
    }
    shared.graph.nodes[id].stats.add_busy(began + waited);
    Ok(())
}
