//! What a pipeline will do, told before it does it.

use arrow_schema::SchemaRef;
use serde::Serialize;
use tidegate_core::{
    Ask, ComponentId, Delivery, Kind, Next, PlanState, Replay, Result, Transform, TypeName,
    Visibility,
};

use crate::graph::{Body, Graph, Node, PortId};

/// A pipeline whose graph fits together.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// Whether it ends by itself.
    pub bounded: bool,
    /// What a crash or a stop means for it, in a sentence each.
    pub notes: Vec<String>,
    /// The components, in the file's order.
    pub components: Vec<ComponentDescription>,
}

/// One component of it.
#[derive(Debug, Clone, Serialize)]
pub struct ComponentDescription {
    /// Its name.
    pub id: ComponentId,
    /// What it is.
    pub kind: Kind,
    /// Its type.
    pub r#type: String,
    /// How a transform works: `streaming` (batch by batch) or `blocking` (once it has all rows).
    pub works: Option<&'static str>,
    /// What it reads.
    pub inputs: Vec<InputDescription>,
    /// What it gives.
    pub outputs: Vec<OutputDescription>,
    /// What a sink guarantees; none for an observer.
    pub guarantee: Option<&'static str>,
    /// Why that isn't more.
    pub reason: Option<String>,
    /// When a sink's rows become visible: `epoch` or `run`.
    pub visible: Option<&'static str>,
    /// Its splits, where they were asked for.
    pub splits: Option<Vec<SplitDescription>>,
}

/// An input of a component.
#[derive(Debug, Clone, Serialize)]
pub struct InputDescription {
    /// As the component calls it.
    pub name: String,
    /// The component that gives it.
    pub from: ComponentId,
    /// Whether its rows come in the order of an `ORDER BY`, which a sink keeps.
    pub ordered: bool,
}

/// What a component gives.
#[derive(Debug, Clone, Serialize)]
pub struct OutputDescription {
    /// Its name in `inputs`.
    pub name: String,
    /// Whether anything reads it.
    pub read: bool,
    /// Its columns.
    pub columns: Vec<ColumnDescription>,
    /// What a source is asked for, where that isn't everything.
    pub pushed_down: Option<PushedDown>,
    /// What a source can do for the stream after a crash: `offset`, `whole`, `session`, `upstream`
    /// or `never`.
    pub replay: Option<&'static str>,
}

/// A column.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnDescription {
    /// Its name.
    pub name: String,
    /// Its type, as pipeline files name it: `int64`, `list<string>`.
    pub r#type: String,
    /// Whether it may be null.
    pub nullable: bool,
}

/// What a source is asked for.
#[derive(Debug, Clone, Serialize)]
pub struct PushedDown {
    /// The columns; none for all.
    pub columns: Option<Vec<String>>,
    /// How many simple conditions.
    pub predicates: usize,
    /// The most rows.
    pub limit: Option<u64>,
}

/// A split.
#[derive(Debug, Clone, Serialize)]
pub struct SplitDescription {
    /// Its name.
    pub id: String,
    /// Rows in it, estimated.
    pub rows: Option<u64>,
    /// Bytes in it, estimated.
    pub bytes: Option<u64>,
}

impl Graph {
    /// What the pipeline will do.
    pub fn describe(&self) -> Description {
        Description {
            bounded: self.bounded(),
            notes: self.notes(),
            components: self
                .nodes
                .iter()
                .map(|node| self.describe_node(node))
                .collect(),
        }
    }

    /// The same with each source's splits, as a new run would plan them now.
    ///
    /// `state` gives the plan state of a source's earlier run.
    pub async fn describe_with_splits(
        &self,
        state: impl Fn(&ComponentId) -> Option<PlanState>,
    ) -> Result<Description> {
        let mut description = self.describe();
        for (id, node, source, streams) in self.sources() {
            let scans: Vec<_> = streams
                .iter()
                .filter_map(|stream| stream.scan.clone())
                .collect();
            let state = state(&node.spec.id);
            let ask = Ask {
                scans: &scans,
                state: state.as_ref(),
                finished: &[],
                first: true,
            };
            let plan = source
                .plan(&ask)
                .await
                .map_err(|error| error.with("component", &node.spec.id))?;
            let splits = plan.new.iter().map(|split| SplitDescription {
                id: split.id.to_string(),
                rows: split.estimate.rows,
                bytes: split.estimate.bytes,
            });
            description.components[id].splits = Some(splits.collect());
            let limits = source.limits();
            if let Some(most) = limits.splits
                && limits.listens
                && plan.new.len() > most.get()
            {
                description.notes.push(format!(
                    "`{}` has {} open splits, and reads {most} of them at once: the others wait \
                     until one ends",
                    node.spec.id,
                    plan.new.len()
                ));
            }
            if plan.next != Next::Complete {
                let note = format!("`{}` finds more splits while it runs", node.spec.id);
                description.notes.push(note);
            }
        }
        Ok(description)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let bounded = self.bounded();
        let gathers: Vec<String> = self
            .nodes
            .iter()
            .filter(|node| works(node) == Some("blocking"))
            .map(|node| format!("`{}`", node.spec.id))
            .collect();
        let sessions: Vec<String> = self
            .sources()
            .filter(|(id, ..)| self.replay(*id) == Some(Replay::Session))
            .map(|(_, node, ..)| format!("`{}`", node.spec.id))
            .collect();
        if !gathers.is_empty() && bounded {
            notes.push(format!(
                "{}: the run is one epoch, and one that is interrupted restarts from the beginning",
                match gathers.as_slice() {
                    [one] => format!("{one} needs all rows of its inputs"),
                    all => format!("{} need all rows of their inputs", all.join(", ")),
                }
            ));
        } else if !gathers.is_empty() {
            notes.push(format!(
                "{} works on the rows between two checkpoints (scope = \"epoch\")",
                gathers.join(", ")
            ));
        } else if !sessions.is_empty() {
            notes.push(format!(
                "{} as of one moment: the run is one epoch, and one that is interrupted restarts from the beginning",
                match sessions.as_slice() {
                    [one] => format!("{one} is read"),
                    all => format!("{} are read, each", all.join(", ")),
                }
            ));
        } else if bounded {
            notes.push("a run that is interrupted resumes from its last checkpoint".to_owned());
        } else {
            notes.push(
                "it runs until it is stopped, and resumes from its last checkpoint".to_owned(),
            );
        }
        for (id, node, ..) in self.sources() {
            let source = &node.spec.id;
            match self.replay(id) {
                Some(Replay::Upstream) => notes.push(format!(
                    "`{source}` is sent again what wasn't committed before a crash"
                )),
                Some(Replay::Never) => notes.push(format!(
                    "what `{source}` has read and isn't committed is lost in a crash"
                )),
                _ => {}
            }
        }
        for (_, node, source, _) in self.sources() {
            let said = source.notes().into_iter();
            notes.extend(said.map(|note| format!("`{}` {note}", node.spec.id)));
        }
        if self.has_run_visibility() {
            notes.push("a sink that overwrites shows its rows at the end of the run".to_owned());
        }
        for (_, node, sink) in self.sinks() {
            if sink.delivery() == Delivery::AtLeastOnce {
                notes.push(format!(
                    "`{}` may receive rows again after a crash",
                    node.spec.id
                ));
            }
        }
        notes
    }

    fn describe_node(&self, node: &Node) -> ComponentDescription {
        let inputs = node.inputs.iter().map(|edge| InputDescription {
            name: edge.name.to_string(),
            from: self.nodes[self.maker(edge.port)].spec.id.clone(),
            ordered: matches!(node.body, Body::Sink { .. }) && self.in_order(edge.port),
        });
        let mut outputs = Vec::new();
        match &node.body {
            Body::Source { streams, .. } => {
                for open in streams {
                    let mut output = self.output(open.port);
                    output.replay = Some(open.stream.replay.name());
                    output.pushed_down = open.scan.as_ref().and_then(|scan| {
                        let all = scan.columns.is_none()
                            && scan.predicates.is_empty()
                            && scan.limit.is_none();
                        (!all).then(|| PushedDown {
                            columns: scan.columns.clone(),
                            predicates: scan.predicates.len(),
                            limit: scan.limit,
                        })
                    });
                    outputs.push(output);
                }
            }
            Body::Transform { out, .. } => outputs.push(self.output(*out)),
            Body::Sink { answers, .. } => outputs.extend(answers.map(|port| self.output(port))),
        }
        if !self.ports[node.rejected].consumers.is_empty() {
            outputs.push(self.output(node.rejected));
        }
        let (guarantee, reason, visible) = match &node.body {
            Body::Sink { sink, given, .. } => (
                given.guarantee.map(|guarantee| guarantee.name()),
                given.reason.clone(),
                Some(match sink.visibility() {
                    Visibility::Epoch => "epoch",
                    Visibility::Run => "run",
                }),
            ),
            _ => (None, None, None),
        };
        ComponentDescription {
            id: node.spec.id.clone(),
            kind: node.spec.kind,
            r#type: node.spec.tag.clone(),
            works: works(node),
            inputs: inputs.collect(),
            outputs,
            guarantee,
            reason,
            visible,
            splits: None,
        }
    }

    fn output(&self, port: PortId) -> OutputDescription {
        let port = &self.ports[port];
        OutputDescription {
            name: port.name.clone(),
            read: !port.consumers.is_empty(),
            columns: columns(&port.schema),
            pushed_down: None,
            replay: None,
        }
    }
}

fn works(node: &Node) -> Option<&'static str> {
    match &node.body {
        Body::Transform {
            transform: Transform::Map(_),
            ..
        } => Some("streaming"),
        Body::Transform {
            transform: Transform::Gather(_),
            ..
        } => Some("blocking"),
        _ => None,
    }
}

fn columns(schema: &SchemaRef) -> Vec<ColumnDescription> {
    schema
        .fields()
        .iter()
        .map(|field| ColumnDescription {
            name: field.name().clone(),
            r#type: TypeName::of(field).to_string(),
            nullable: field.is_nullable(),
        })
        .collect()
}
