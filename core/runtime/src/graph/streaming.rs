//! Which stages may begin before a run's only epoch ends, and take rows as they come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_core::Transform;

use super::{Body, Graph, NodeId, PortId};

/// How many gates of sinks and stages can be told from each other: if a stage's were shared, it could
/// wait for what it holds up itself.
pub(crate) const MOST_GATES: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Streaming {
    stages: BTreeMap<NodeId, Vec<Origins>>,
    /// The inputs that a stage reads once.
    inputs: BTreeSet<(NodeId, usize)>,
    /// Those that may wait until the others of their stage have ended.
    holdable: BTreeSet<(NodeId, usize)>,
    /// One is held back. Two could wait for each other.
    holding: AtomicBool,
}

/// Where an input's rows come from.
#[derive(Debug, Default)]
struct Origins {
    sources: BTreeSet<NodeId>,
    /// Some come from a stage, whose end is known only at the end of the epoch.
    staged: bool,
}

impl Streaming {
    /// Of a run that is one epoch; of others nothing is streamed, as a stage ends with its epoch.
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut streaming = Self::default();
        if !graph.bounded() {
            return streaming;
        }
        for (id, node) in graph.nodes.iter().enumerate() {
            let Body::Transform {
                transform: Transform::Gather(gather),
                ..
            } = &node.body
            else {
                continue;
            };
            let origins: Vec<_> = node
                .inputs
                .iter()
                .map(|edge| {
                    let mut origins = Origins::default();
                    graph.origins(edge.port, &mut origins);
                    origins
                })
                .collect();
            for (input, its) in origins.iter().enumerate() {
                if !gather.streams(input) {
                    continue;
                }
                streaming.inputs.insert((id, input));
                let mut others = (0..origins.len()).filter(|other| *other != input);
                // What is held back must not be what the others wait for. Where order matters, what
                // comes next in one source may wait until nothing of any is on the queue.
                let apart = |other: usize| {
                    !origins[other].staged && origins[other].sources.is_disjoint(&its.sources)
                };
                if origins.len() > 1 && others.all(apart) && !graph.ordered() {
                    streaming.holdable.insert((id, input));
                }
            }
            streaming.stages.insert(id, origins);
        }
        match streaming.inputs.len() + graph.sinks().count() <= MOST_GATES {
            true => streaming,
            false => Self::default(),
        }
    }

    pub(crate) fn any(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// The inputs that may be streamed.
    pub(crate) fn inputs(&self) -> &BTreeSet<(NodeId, usize)> {
        &self.inputs
    }

    /// The only input of a stage that still comes while these sources are `read`, if it may be
    /// streamed.
    pub(crate) fn streamable(&self, stage: NodeId, read: &BTreeSet<NodeId>) -> Option<usize> {
        let inputs = self.stages.get(&stage)?.iter().enumerate();
        let comes = |its: &Origins| its.staged || !its.sources.is_disjoint(read);
        let coming: Vec<usize> = inputs
            .filter_map(|(input, its)| comes(its).then_some(input))
            .collect();
        match coming[..] {
            [input] if self.inputs.contains(&(stage, input)) => Some(input),
            _ => None,
        }
    }

    /// The sources of an input's rows.
    pub(crate) fn sources(&self, stage: NodeId, input: usize) -> impl Iterator<Item = NodeId> {
        let origins = self.stages.get(&stage).and_then(|inputs| inputs.get(input));
        origins
            .into_iter()
            .flat_map(|its| its.sources.iter().copied())
    }

    /// Whether an input may be held back until the others have ended.
    pub(crate) fn may_hold(&self, stage: NodeId, input: usize) -> bool {
        self.holdable.contains(&(stage, input))
    }

    /// Takes the right to hold one back.
    pub(crate) fn hold(&self) -> bool {
        !self.holding.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn release(&self) {
        self.holding.store(false, Ordering::Relaxed);
    }
}

impl Graph {
    fn origins(&self, port: PortId, found: &mut Origins) {
        let maker = self.maker(port);
        match &self.nodes[maker].body {
            Body::Source { .. } => {
                found.sources.insert(maker);
            }
            Body::Transform {
                transform: Transform::Gather(_),
                ..
            } => found.staged = true,
            Body::Transform { .. } | Body::Sink { .. } => {
                for edge in &self.nodes[maker].inputs {
                    self.origins(edge.port, found);
                }
            }
        }
    }
}
