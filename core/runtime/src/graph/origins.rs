//! Where a sink may ask where its rows come from.

use tidegate_core::{Error, Replay, Result, Transform};

use super::{Body, Graph, NodeId};

impl Graph {
    /// Refuses sinks that want origins behind what can't carry them.
    pub(super) fn check_origins(&self) -> Result<()> {
        for (id, node, sink) in self.sinks() {
            if sink.wants_origins()
                && let Some((other, why)) = self.loses_origins(id)
            {
                let other = &self.nodes[other].spec.id;
                return Err(Error::config(format!(
                    "sink `{}` tells rows by where they come from, and `{other}` {why}",
                    node.spec.id
                ))
                .with("component", &node.spec.id)
                .hint(format!(
                    "write what `{other}` gives to another kind of sink, and read that in another \
                     pipeline; a sink that can do without has a key for that: `idempotency_key = false` of `http`"
                )));
            }
        }
        Ok(())
    }

    /// What loses the origins before a node's inputs, and why.
    fn loses_origins(&self, node: NodeId) -> Option<(NodeId, &'static str)> {
        self.nodes[node].inputs.iter().find_map(|edge| {
            let maker = self.maker(edge.port);
            match &self.nodes[maker].body {
                Body::Source { .. } if !self.replay(maker).is_some_and(Replay::is_stored) => {
                    Some((maker, "has no positions that outlive the process"))
                }
                Body::Source { .. } => None,
                Body::Sink { .. } => Some((maker, "gives rows in no order")),
                Body::Transform {
                    transform: Transform::Gather(_),
                    ..
                } => Some((maker, "makes one row of many")),
                Body::Transform { transform, .. } if !transform.deterministic() => {
                    Some((maker, "may give other rows when it is run again"))
                }
                Body::Transform { .. } => self.loses_origins(maker),
            }
        })
    }
}
