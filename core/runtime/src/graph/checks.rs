//! What can be refused once all is open.

use tidegate_core::{Error, PipelineSpec, Result, Spread, Transform, Visibility};

use super::{Body, Graph, PortId};

impl Graph {
    /// What can't be seen before all is open.
    pub(super) fn check(&mut self, spec: &PipelineSpec) -> Result<()> {
        self.check_columns()?;
        self.check_guarantees(spec)?;
        self.check_unbounded()?;
        self.check_origins()
    }

    /// Whether the columns are there by which sinks spread their rows.
    fn check_columns(&self) -> Result<()> {
        for (_, node, sink) in self.sinks() {
            for (input, edge) in node.inputs.iter().enumerate() {
                if let Spread::Hash(columns) = sink.distribution(input).spread {
                    let schema = &self.ports[edge.port].schema;
                    for column in columns {
                        schema.index_of(&column).map_err(|_| {
                            Error::schema(format!("`{}` has no column `{column}`", edge.name))
                                .with("component", &node.spec.id)
                        })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether rows of a port come from a sink, which may give some when all stages have run.
    fn is_late(&self, port: PortId) -> bool {
        let maker = &self.nodes[self.maker(port)];
        match maker.body {
            Body::Source { .. } => false,
            Body::Sink { .. } => true,
            Body::Transform { .. } => maker.inputs.iter().any(|edge| self.is_late(edge.port)),
        }
    }

    fn check_unbounded(&self) -> Result<()> {
        let bounded = self.bounded();
        for node in &self.nodes {
            if let Body::Transform {
                transform: Transform::Gather(gather),
                ..
            } = &node.body
            {
                if !bounded && !gather.epoch_scoped() {
                    return Err(Error::config(format!(
                        "transform `{}` needs all rows of its inputs, but they never end",
                        node.spec.id
                    ))
                    .with("component", &node.spec.id)
                    .hint(
                        "with `scope = \"epoch\"` it works on the rows between two checkpoints; \
                         is that what you mean?",
                    ));
                }
                if let Some(edge) = node.inputs.iter().find(|edge| self.is_late(edge.port)) {
                    return Err(Error::unsupported(format!(
                        "transform `{}` gathers all rows of `{}`, which a sink gives only later",
                        node.spec.id, edge.name
                    ))
                    .with("component", &node.spec.id)
                    .hint("write these rows to a sink, and gather them in another pipeline"));
                }
            }
            if let Body::Sink { sink, .. } = &node.body
                && !bounded
                && sink.visibility() == Visibility::Run
            {
                return Err(Error::config(format!(
                    "sink `{}` shows its rows at the end of the run, but the run is unbounded",
                    node.spec.id
                ))
                .with("component", &node.spec.id)
                .with("key", "mode")
                .hint("an overwrite mode needs sources that end; use `mode = \"append\"`"));
            }
        }
        Ok(())
    }
}
