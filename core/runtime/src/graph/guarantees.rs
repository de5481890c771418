//! What a sink can guarantee, by what it does and what stands above it.

use tidegate_core::{
    ComponentId, ComponentSpec, Delivery, Error, Guarantee, PipelineSpec, Replay, Result,
};

use super::{Body, Graph, NodeId};
use crate::stats::Given;

impl Graph {
    /// Computes what each sink can give, and refuses what it is asked for beyond that.
    pub(super) fn check_guarantees(&mut self, spec: &PipelineSpec) -> Result<()> {
        for id in 0..self.nodes.len() {
            let Body::Sink { sink, .. } = &self.nodes[id].body else {
                continue;
            };
            let above = self.above(id);
            let given = above.given(sink.delivery());
            let component = &self.nodes[id].spec;
            let asked = component.guarantee.or(spec.options.guarantee);
            if let (Some(asked), Some(best)) = (asked, given.guarantee)
                && asked > best
            {
                return Err(Error::config(format!(
                    "sink `{}` can't give the guarantee `{}`: {}",
                    component.id,
                    asked.name(),
                    given.reason.as_deref().unwrap_or("it writes at least once"),
                ))
                .with("component", &component.id)
                .with("key", "guarantee")
                .hint(above.remedy(asked, best)));
            }
            if let Body::Sink { given: slot, .. } = &mut self.nodes[id].body {
                *slot = given;
            }
        }
        Ok(())
    }

    /// What stands above a node and limits what it can give.
    fn above(&self, node: NodeId) -> Above<'_> {
        let mut above = Above::default();
        let mut open: Vec<NodeId> = vec![node];
        let mut seen = vec![false; self.nodes.len()];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            let node = &self.nodes[at];
            if let Body::Transform { transform, .. } = &node.body
                && !transform.deterministic()
            {
                above.changing.get_or_insert(&node.spec);
            }
            if let Some(replay) = self.replay(at)
                && above.source.is_none_or(|(_, least)| replay > least)
            {
                above.source = Some((&node.spec.id, replay));
            }
            for edge in &node.inputs {
                let maker = self.maker(edge.port);
                if let Body::Sink { answers, .. } = &self.nodes[maker].body
                    && *answers == Some(edge.port)
                {
                    above.changing.get_or_insert(&self.nodes[maker].spec);
                }
                open.push(maker);
            }
        }
        above
    }
}

/// What limits the guarantee of a sink.
#[derive(Debug, Default)]
struct Above<'a> {
    /// A transform that may give other rows when it is run again, or a sink whose answers are read.
    changing: Option<&'a ComponentSpec>,
    /// The source that can do the least after a crash.
    source: Option<(&'a ComponentId, Replay)>,
}

impl Above<'_> {
    fn given(&self, delivery: Delivery) -> Given {
        let at_least_once = |reason: String| (Some(Guarantee::AtLeastOnce), Some(reason));
        let (guarantee, reason) = match (delivery, self.source, self.changing) {
            (Delivery::Observer, ..) => (None, None),
            (_, Some((source, Replay::Never)), _) => (
                Some(Guarantee::None),
                Some(format!(
                    "source `{source}` can't give rows again that a crash has lost"
                )),
            ),
            (Delivery::AtLeastOnce, ..) => {
                at_least_once("rows may arrive again after a crash".to_owned())
            }
            (Delivery::Idempotent, _, Some(ComponentSpec { id, kind, .. })) => at_least_once(
                format!("{kind} `{id}` may give other rows when it is run again"),
            ),
            (Delivery::Idempotent, _, None) => (
                Some(Guarantee::EffectivelyOnce),
                Some(
                    "rows may be written again after a crash, with the same effect as once"
                        .to_owned(),
                ),
            ),
            (Delivery::TwoPhase, Some((source, Replay::Upstream)), _) => at_least_once(format!(
                "source `{source}` may be sent rows again that were committed right before a crash"
            )),
            (Delivery::TwoPhase, ..) => (Some(Guarantee::ExactlyOnce), None),
        };
        Given { guarantee, reason }
    }

    /// What to do where more was asked for than the best.
    fn remedy(&self, asked: Guarantee, best: Guarantee) -> String {
        let best_is = format!("the best it can give is `{}`", best.name());
        match self.source {
            Some((_, Replay::Never)) => {
                format!("{best_is}; more takes a source that can be read again")
            }
            Some((_, Replay::Upstream)) if asked == Guarantee::EffectivelyOnce => {
                format!("{best_is}; a sink that writes by a key gives `effectively_once`")
            }
            Some((_, Replay::Upstream)) if asked == Guarantee::ExactlyOnce => format!(
                "{best_is}; a sink that writes by a key gives `effectively_once`, and \
                 `exactly_once` takes a source that can be read again from an offset"
            ),
            _ => best_is,
        }
    }
}
