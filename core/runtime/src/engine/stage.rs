//! Stages: what needs all rows of an epoch, run when they are all there, while the next epoch is
//! filled.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use tidegate_core::{Error, Gathered, Result, Rows, Transform};
use tokio::runtime::Handle;

use super::flow::EpochSet;
use super::shared::{Shared, closed};
use crate::graph::{Body, NodeId};

/// Runs every stage of an epoch that was cut, in the order of the graph; their output goes through
/// the queue to the workers.
pub(crate) async fn run_all(shared: &Arc<Shared>, set: &Arc<EpochSet>, cpu: &Handle) -> Result<()> {
    for &id in &shared.graph.order {
        let is_stage = matches!(
            &shared.graph.nodes[id].body,
            Body::Transform {
                transform: Transform::Gather(_),
                ..
            }
        );
        if is_stage {
            run(shared, set, cpu, id)
                .await
                .map_err(|error| error.with("component", shared.id(id)))?;
            shared.queue.staged().await.map_err(closed)?;
        }
    }
    Ok(())
}

async fn run(shared: &Arc<Shared>, set: &Arc<EpochSet>, cpu: &Handle, id: NodeId) -> Result<()> {
    let node = &shared.graph.nodes[id];
    let Body::Transform {
        transform: Transform::Gather(gather),
        out,
    } = &node.body
    else {
        return Ok(());
    };
    let began = Instant::now();
    let mut inputs: Vec<Arc<dyn Gathered>> = Vec::new();
    for input in 0..node.inputs.len() {
        let Some(spool) = set.spools.get(&(id, input)) else {
            return Err(Error::internal("a stage has an input without a spool"));
        };
        spool.finish()?;
        inputs.push(Arc::clone(spool) as _);
    }
    let (gather, port) = (Arc::clone(gather), *out);
    let partitions = cpu
        .spawn(async move { gather.run(inputs).await })
        .await
        .map_err(broke)??;
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
                        .push_stage(&set, port, partition, rows)
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
        pump.await.map_err(broke)??;
    }
    node.stats.add_busy(began);
    Ok(())
}

fn broke(error: tokio::task::JoinError) -> Error {
    Error::internal("a stage panicked").because(error)
}
