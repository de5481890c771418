//! Where a pipeline can be worked on by one executor only.

use tidegate_core::{Replay, Spread, Transform};

use super::{Body, Graph};

/// Why it needs one executor.
#[derive(Debug)]
pub(crate) struct Alone {
    pub(crate) why: String,
    /// It has to be in the coordinator's process: what reads and what acknowledges share a connection.
    pub(crate) here: bool,
}

impl Graph {
    /// Why the pipeline needs one executor, if it does.
    pub(crate) fn alone(&self) -> Option<Alone> {
        let alone = |why: String, here: bool| Some(Alone { why, here });
        for (id, node, source, _) in self.sources() {
            let source_is = |what: &str| format!("source `{}` {what}", node.spec.id);
            match self.replay(id) {
                None => {}
                Some(Replay::Session) => {
                    return alone(source_is("reads as of one moment"), true);
                }
                Some(Replay::Upstream | Replay::Never) => {
                    return alone(source_is("has positions of this process only"), true);
                }
                Some(_) if source.limits().listens => {
                    return alone(source_is("listens"), true);
                }
                Some(_) => {}
            }
        }
        for node in &self.nodes {
            if let Body::Transform {
                transform: Transform::Gather(_),
                ..
            } = &node.body
            {
                let why = format!("transform `{}` needs all rows of its inputs", node.spec.id);
                return alone(why, false);
            }
            let Body::Sink { sink, .. } = &node.body else {
                continue;
            };
            for input in 0..node.inputs.len() {
                let distribution = sink.distribution(input);
                if distribution.ordered || distribution.spread != Spread::Any {
                    let why = format!("sink `{}` wants rows in order or by key", node.spec.id);
                    return alone(why, false);
                }
            }
        }
        None
    }
}
