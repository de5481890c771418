//! Opens the components, each after what it reads, and joins them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use tidegate_core::{
    ComponentConfig, ComponentId, ComponentSpec, DEEPEST, Error, Input, Kind, PipelineSpec,
    Rejected, Result, Sink, Source, Stream, StreamName, Transform, TransformContext, check_depth,
    guarded_async, suggest,
};

use super::memory::Shares;
use super::surroundings::Surroundings;
use super::{Body, Edge, Graph, Node, NodeId, OpenStream, Port, PortId, in_component};
use crate::stats::{ComponentStats, Given};

enum Opened {
    Transform(Transform),
    Sink(Arc<dyn Sink>),
}

pub(super) struct Builder<'a> {
    spec: &'a PipelineSpec,
    bodies: Vec<Option<(Body, Vec<Edge>)>>,
    ports: Vec<Port>,
    rejected: Vec<PortId>,
    /// Streams of each source, by position.
    streams: HashMap<NodeId, Vec<(StreamName, PortId)>>,
    /// Outputs of transforms. Filled before they are opened, because their schema comes later.
    outputs: HashMap<NodeId, PortId>,
    /// Answers of sinks that are open, where anything reads them.
    answers: HashMap<NodeId, PortId>,
    /// How many maps keep state.
    stateful: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(spec: &'a PipelineSpec) -> Self {
        let mut builder = Self {
            spec,
            bodies: spec.components.iter().map(|_| None).collect(),
            ports: Vec::new(),
            rejected: Vec::new(),
            streams: HashMap::new(),
            outputs: HashMap::new(),
            answers: HashMap::new(),
            stateful: 0,
        };
        for (node, component) in spec.components.iter().enumerate() {
            let name = format!("{}.{}", component.id, StreamName::REJECTED);
            let rejected = builder.add_port(node, name, Rejected::schema());
            builder.rejected.push(rejected);
            if component.kind == Kind::Transform {
                let port =
                    builder.add_port(node, component.id.to_string(), Arc::new(Schema::empty()));
                builder.outputs.insert(node, port);
            }
        }
        builder
    }

    /// Opens the components, each after what it reads. What is open when one fails stays in the
    /// builder.
    pub(super) async fn open_all(
        &mut self,
        configs: &[ComponentConfig],
        stats: &[Arc<ComponentStats>],
        around: &Surroundings,
        schemas: &BTreeMap<ComponentId, BTreeMap<StreamName, Schema>>,
    ) -> Result<Vec<NodeId>> {
        let spec = self.spec;
        let transforms = configs.iter().filter_map(|config| match config {
            ComponentConfig::Transform(config) => Some(config),
            _ => None,
        });
        self.stateful = transforms.filter(|config| config.keeps_state()).count();
        for (node, (component, config)) in spec.components.iter().zip(configs).enumerate() {
            let ComponentConfig::Source(config) = config else {
                continue;
            };
            let memory = self.shares(around).source;
            let cx = around.context(&component.id, &stats[node], memory);
            let opened = guarded_async("opening it", config.open(&cx)).await;
            let source = opened.map_err(|e| in_component(e, component))?;
            let mut streams = source.streams();
            if let Some(changed) = schemas.get(&component.id) {
                for stream in &mut streams {
                    if let Some(schema) = changed.get(&stream.name) {
                        stream.schema = Arc::new(schema.clone());
                    }
                }
            }
            self.add_source(node, source, streams)?;
        }
        let order = self.order()?;
        for &node in &order {
            let component = &spec.components[node];
            let edges = self.resolve(component)?;
            let inputs = self.inputs(&edges);
            let opened = match &configs[node] {
                ComponentConfig::Source(_) => continue,
                ComponentConfig::Transform(config) => {
                    let shares = self.shares(around);
                    let memory = match config.keeps_state() {
                        true => shares.map,
                        false => shares.stage,
                    };
                    let common = around.context(&component.id, &stats[node], memory);
                    let cx = TransformContext { common, inputs };
                    guarded_async("opening it", config.open(&cx))
                        .await
                        .map(Opened::Transform)
                }
                ComponentConfig::Sink(config) => {
                    let memory = self.shares(around).sink;
                    let asked = self.is_asked_for_answers(&component.id);
                    let cx =
                        around.sink_context(&component.id, &stats[node], memory, inputs, asked);
                    guarded_async("opening it", config.open(&cx))
                        .await
                        .map(Opened::Sink)
                }
            };
            self.add(node, opened.map_err(|e| in_component(e, component))?, edges);
        }
        Ok(order)
    }

    /// What each may hold, as far as it is known which transforms are stages.
    fn shares(&self, around: &Surroundings) -> Shares {
        let gathers = self.bodies.iter().flatten().any(|(body, _)| {
            matches!(
                body,
                Body::Transform {
                    transform: Transform::Gather(_),
                    ..
                }
            )
        });
        Shares::new(&around.runtime, self.spec, gathers, self.stateful)
    }

    /// Closes what was opened.
    pub(super) async fn close(self) {
        for (component, body) in self.spec.components.iter().zip(self.bodies) {
            if let Some((body, _)) = body {
                close(&component.id, &body).await;
            }
        }
    }

    fn add_port(&mut self, maker: NodeId, name: String, schema: SchemaRef) -> PortId {
        self.ports.push(Port {
            name,
            schema,
            maker,
            consumers: Vec::new(),
        });
        self.ports.len() - 1
    }

    fn add_source(
        &mut self,
        node: NodeId,
        source: Arc<dyn Source>,
        streams: Vec<Stream>,
    ) -> Result<()> {
        let component = &self.spec.components[node];
        let id = &component.id;
        // It is in the builder's hands also where it is refused, so that it is closed.
        let checked = check_streams(&streams).map_err(|error| in_component(error, component));
        let mut open = Vec::new();
        for stream in streams {
            let port = self.add_port(node, format!("{id}.{}", stream.name), stream.schema.clone());
            self.streams
                .entry(node)
                .or_default()
                .push((stream.name.clone(), port));
            open.push(OpenStream {
                stream,
                port,
                scan: None,
            });
        }
        self.bodies[node] = Some((
            Body::Source {
                source,
                streams: open,
            },
            Vec::new(),
        ));
        checked
    }

    fn add(&mut self, node: NodeId, opened: Opened, edges: Vec<Edge>) {
        let body = match opened {
            Opened::Transform(transform) => {
                let out = self.outputs[&node];
                self.ports[out].schema = transform.schema();
                Body::Transform { transform, out }
            }
            Opened::Sink(sink) => Body::Sink {
                answers: self.add_answers(node, sink.as_ref()),
                sink,
                given: Given {
                    guarantee: None,
                    reason: None,
                },
            },
        };
        self.bodies[node] = Some((body, edges));
    }

    /// The port of a sink's answers, if anything reads them and it has them.
    fn add_answers(&mut self, node: NodeId, sink: &dyn Sink) -> Option<PortId> {
        let id = &self.spec.components[node].id;
        let asked = self.is_asked_for_answers(id);
        let schema = asked.then(|| sink.answers()).flatten()?;
        let port = self.add_port(node, format!("{id}.{}", StreamName::ANSWERS), schema);
        self.answers.insert(node, port);
        Some(port)
    }

    fn is_asked_for_answers(&self, sink: &ComponentId) -> bool {
        let mut inputs = self.spec.components.iter().flat_map(|one| &one.inputs);
        inputs.any(|entry| entry.split_once('.') == Some((sink.as_str(), StreamName::ANSWERS)))
    }

    fn find(&self, id: &str) -> Option<NodeId> {
        self.spec
            .components
            .iter()
            .position(|component| component.id.as_str() == id)
    }

    /// The ports that an entry of `inputs` means, with the names that the consumer sees.
    fn expand(&self, entry: &str) -> Result<Vec<Edge>> {
        let (id, stream) = entry
            .split_once('.')
            .map_or((entry, None), |(id, s)| (id, Some(s)));
        let Some(node) = self.find(id) else {
            return Err(Error::config(format!("no component is named `{id}`")));
        };
        if stream == Some(StreamName::REJECTED) {
            return Ok(vec![Edge {
                port: self.rejected[node],
                name: entry.into(),
            }]);
        }
        match (self.spec.components[node].kind, stream) {
            (Kind::Source, stream) => {
                let all = self.streams.get(&node).map_or(&[][..], Vec::as_slice);
                // What tells of other rows than the source's own is read only where it is named.
                let own = all
                    .iter()
                    .filter(|(name, _)| !StreamName::is_aside(name.as_str()));
                let own: Vec<_> = own.collect();
                match (stream, own.as_slice()) {
                    (None, [(_, port)]) => Ok(vec![Edge {
                        port: *port,
                        name: entry.into(),
                    }]),
                    (None | Some("*"), own) => Ok(own
                        .iter()
                        .map(|(name, port)| Edge {
                            port: *port,
                            name: format!("{id}.{name}").into(),
                        })
                        .collect()),
                    (Some(name), _) => match all.iter().find(|(known, _)| known.as_str() == name) {
                        Some((_, port)) => Ok(vec![Edge {
                            port: *port,
                            name: entry.into(),
                        }]),
                        None => {
                            let known: Vec<&str> =
                                all.iter().map(|(name, _)| name.as_str()).collect();
                            let others = known.iter().copied().chain([StreamName::REJECTED]);
                            let hint = match suggest::nearest(name, others) {
                                _ if name == StreamName::FAILED_FILES => {
                                    "a source of files has it with `on_file_error = \"skip\"` or \
                                     \"quarantine\""
                                        .to_owned()
                                }
                                Some(near) => format!("did you mean `{id}.{near}`?"),
                                None => format!("its streams are: {}", known.join(", ")),
                            };
                            let what = format!("source `{id}` has no stream `{name}`");
                            Err(Error::config(what).hint(hint))
                        }
                    },
                }
            }
            (Kind::Transform, None) => Ok(vec![Edge {
                port: self.outputs[&node],
                name: entry.into(),
            }]),
            (Kind::Sink, Some(StreamName::ANSWERS)) => match self.answers.get(&node) {
                Some(port) => Ok(vec![Edge {
                    port: *port,
                    name: entry.into(),
                }]),
                None => {
                    let tag = &self.spec.components[node].tag;
                    let what = format!("sink `{id}` of type `{tag}` has no stream of answers");
                    let hint = format!("the rows it can't take are `{id}.rejected`");
                    Err(Error::config(what).hint(hint))
                }
            },
            (kind, _) => Err(Error::config(format!("{kind} `{id}` gives no `{entry}`"))
                .hint(format!("its rejected rows are `{id}.rejected`"))),
        }
    }

    fn resolve(&self, component: &ComponentSpec) -> Result<Vec<Edge>> {
        let mut edges: Vec<Edge> = Vec::new();
        for entry in &component.inputs {
            for edge in self
                .expand(entry)
                .map_err(|error| in_component(error, component))?
            {
                if !edges.iter().any(|other| other.port == edge.port) {
                    edges.push(edge);
                }
            }
        }
        if edges.is_empty() {
            return Err(in_component(Error::config("it reads nothing"), component)
                .hint("say what it reads: inputs = [\"…\"]"));
        }
        Ok(edges)
    }

    fn inputs(&self, edges: &[Edge]) -> Vec<Input> {
        edges
            .iter()
            .map(|edge| Input {
                name: Arc::clone(&edge.name),
                schema: self.ports[edge.port].schema.clone(),
            })
            .collect()
    }

    /// Transforms and sinks, each after what it reads; sinks as late as can be, because their share of the
    /// memory depends on what the transforms are.
    fn order(&self) -> Result<Vec<NodeId>> {
        let components = &self.spec.components;
        let id_of = |entry: &str| entry.split_once('.').map_or(entry, |(id, _)| id).to_owned();
        let needs = |component: &ComponentSpec| {
            let ids = component.inputs.iter().map(|entry| id_of(entry));
            ids.filter_map(|id| self.find(&id)).collect()
        };
        let before: Vec<Vec<NodeId>> = components.iter().map(needs).collect();
        let mut order: Vec<NodeId> = Vec::new();
        let mut placed: Vec<bool> = components.iter().map(|c| c.kind == Kind::Source).collect();
        while placed.contains(&false) {
            let ready: Vec<NodeId> = (0..components.len())
                .filter(|&node| !placed[node] && before[node].iter().all(|&need| placed[need]))
                .collect();
            if ready.is_empty() {
                // A pipeline is checked before.
                return Err(Error::internal("the inputs go round in a circle"));
            }
            let is_transform = |node: &NodeId| components[*node].kind == Kind::Transform;
            let first = ready.iter().copied().filter(is_transform).collect();
            for node in if ready.iter().any(is_transform) {
                first
            } else {
                ready
            } {
                placed[node] = true;
                order.push(node);
            }
        }
        Ok(order)
    }

    pub(super) fn finish(
        mut self,
        order: Vec<NodeId>,
        stats: &[Arc<ComponentStats>],
        around: &Surroundings,
    ) -> Result<Graph> {
        let shares = self.shares(around);
        let mut nodes = Vec::new();
        for (node, body) in self.bodies.into_iter().enumerate() {
            let Some((body, inputs)) = body else {
                return Err(Error::internal("a component was not opened"));
            };
            for (input, edge) in inputs.iter().enumerate() {
                self.ports[edge.port].consumers.push((node, input));
            }
            nodes.push(Node {
                spec: self.spec.components[node].clone(),
                body,
                inputs,
                rejected: self.rejected[node],
                stats: Arc::clone(&stats[node]),
            });
        }
        Ok(Graph {
            nodes,
            ports: self.ports,
            order,
            shares,
        })
    }
}

/// What the streams of a source have to be.
fn check_streams(streams: &[Stream]) -> Result<()> {
    let mut names = BTreeSet::new();
    for stream in streams {
        if stream.name.as_str() == StreamName::REJECTED {
            return Err(Error::internal(
                "a source can't have a stream named `rejected`",
            ));
        }
        check_depth(&stream.schema, DEEPEST)?;
        if !names.insert(&stream.name) {
            return Err(Error::internal(format!(
                "a source has two streams named `{}`",
                stream.name
            )));
        }
    }
    let is_mixed = |pair: &&[Stream]| pair[0].replay != pair[1].replay;
    if streams.iter().any(|stream| !stream.replay.is_stored())
        && let Some([one, other]) = streams.windows(2).find(is_mixed)
    {
        return Err(Error::internal(format!(
            "a source's streams replay in ways that don't go together: `{}` as {}, `{}` as {}",
            one.name,
            one.replay.name(),
            other.name,
            other.replay.name(),
        )));
    }
    Ok(())
}

pub(super) async fn close(id: &ComponentId, body: &Body) {
    let closed = match body {
        Body::Source { source, .. } => source.close().await,
        Body::Transform { .. } => Ok(()),
        Body::Sink { sink, .. } => sink.close().await,
    };
    if let Err(error) = closed {
        tracing::warn!(component = %id, %error, "could not be closed");
    }
}
