//! The pipeline as a graph: components opened in order, typed from the sources down.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use serde_json::{Map as JsonMap, Value};
use tidegate_core::{
    Cancel, ComponentId, ComponentSpec, Context, DEEPEST, Delivery, Epoch, Error, Forgetful,
    Guarantee, Host, Input, Journal, Kept, KeyValue, Kind, Lineage, PipelineSpec, Registry,
    Rejected, Result, RunId, Scan, Sink, SinkConfig, SinkContext, Source, SourceConfig, Spread,
    Stream, StreamName, Token, Transform, TransformConfig, TransformContext, Visibility,
    check_depth,
};

use tokio::sync::Notify;

use crate::settings::RuntimeSettings;
use crate::state::{Change, Fence, StateStore, StoredComponent};
use crate::stats::{ComponentStats, Given};

/// The position of a component in [`Graph::nodes`].
pub(crate) type NodeId = usize;
/// The position of a port in [`Graph::ports`].
pub(crate) type PortId = usize;

/// A pipeline whose components are open and fit together.
#[derive(Debug)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) ports: Vec<Port>,
    /// Transforms and sinks, each after what it reads.
    pub(crate) order: Vec<NodeId>,
}

/// A component that is open.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spec: ComponentSpec,
    pub(crate) body: Body,
    pub(crate) inputs: Vec<Edge>,
    /// Where its rejected rows go, if anything reads them.
    pub(crate) rejected: PortId,
    pub(crate) stats: Arc<ComponentStats>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Source {
        source: Arc<dyn Source>,
        streams: Vec<OpenStream>,
    },
    Transform {
        transform: Transform,
        out: PortId,
    },
    Sink {
        sink: Arc<dyn Sink>,
        given: Given,
    },
}

/// A stream of a source and where it leads.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(crate) stream: Stream,
    pub(crate) port: PortId,
    /// What all its consumers need; `None`: nobody reads it.
    pub(crate) scan: Option<Scan>,
}

/// Something that gives batches: a stream, a transform, a component's rejected rows.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    pub(crate) maker: NodeId,
    pub(crate) consumers: Vec<(NodeId, usize)>,
}

/// One input of a component.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) port: PortId,
    pub(crate) name: Arc<str>,
}

/// The configuration of a component, parsed.
#[derive(Debug)]
pub(crate) enum Config {
    Source(Box<dyn SourceConfig>),
    Transform(Box<dyn TransformConfig>),
    Sink(Box<dyn SinkConfig>),
}

impl Config {
    pub(crate) fn parse(registry: &Registry, spec: &ComponentSpec) -> Result<Self> {
        let table = Value::Object(spec.config.clone());
        let config = match spec.kind {
            Kind::Source => registry.source(&spec.tag, table).map(Self::Source),
            Kind::Transform => registry.transform(&spec.tag, table).map(Self::Transform),
            Kind::Sink => registry.sink(&spec.tag, table).map(Self::Sink),
            Kind::Catalog => Err(Error::config("a catalog can't be a component")
                .hint("it stands in a sink's `catalog`, or in the settings")),
        };
        let config = config.map_err(|error| error.with("component", &spec.id))?;
        match &config {
            Self::Source(config) => config.validate(),
            Self::Transform(config) => config.validate(),
            Self::Sink(config) => config.validate(),
        }
        .map_err(|error| error.with("component", &spec.id))?;
        Ok(config)
    }

    /// The configuration as it is stored: whole, and without what only tunes.
    pub(crate) fn store(&self, spec: &ComponentSpec) -> Result<StoredComponent> {
        let (value, tuning) = match self {
            Self::Source(config) => (serde_json::to_value(config), config.tuning_keys()),
            Self::Transform(config) => (serde_json::to_value(config), config.tuning_keys()),
            Self::Sink(config) => (serde_json::to_value(config), config.tuning_keys()),
        };
        let config = value.map_err(|error| {
            Error::internal("a configuration can't be stored")
                .with("component", &spec.id)
                .because(error)
        })?;
        let mut fingerprint = config.clone();
        if let Value::Object(table) = &mut fingerprint {
            for key in tuning {
                table.shift_remove(*key);
            }
        }
        Ok(StoredComponent {
            id: spec.id.clone(),
            kind: spec.kind,
            inputs: spec.inputs.clone(),
            config,
            fingerprint,
        })
    }
}

/// What surrounds the components of a graph: everything their contexts need.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) pipeline: Arc<str>,
    pub(crate) base: Arc<Path>,
    pub(crate) lineage: Lineage,
    pub(crate) run: RunId,
    pub(crate) runtime: RuntimeSettings,
    pub(crate) settings: Arc<JsonMap<String, Value>>,
    pub(crate) scratch: Arc<Path>,
    pub(crate) cancel: Cancel,
    pub(crate) state: Option<(Arc<dyn StateStore>, Fence)>,
    /// Rings when a source asks for a checkpoint.
    pub(crate) cuts: Arc<Notify>,
    /// What components keep over attempts; `None` while the pipeline is only checked.
    pub(crate) kept: Option<Kept>,
}

impl Surroundings {
    pub(crate) fn context(&self, id: &ComponentId, stats: &ComponentStats) -> Context {
        let values = |pipeline: &Arc<str>, component: &str| -> Arc<dyn KeyValue> {
            match &self.state {
                Some((state, _)) => Arc::new(Values {
                    state: Arc::clone(state),
                    pipeline: Arc::clone(pipeline),
                    component: component.into(),
                }),
                // While a pipeline is only checked.
                None => Arc::new(Forgetful),
            }
        };
        Context {
            id: id.clone(),
            pipeline: Arc::clone(&self.pipeline),
            lineage: self.lineage,
            run: self.run,
            base: Arc::clone(&self.base),
            parallelism: self.runtime.workers(),
            memory: self.runtime.memory.0,
            scratch: self.scratch.join(id.as_str()).into(),
            store: values(&self.pipeline, id.as_str()),
            shared: values(&SHARED.into(), SHARED),
            cancel: self.cancel.clone(),
            metrics: Arc::clone(&stats.metrics),
            settings: Arc::clone(&self.settings),
            host: self.kept.as_ref().map_or_else(Host::default, |kept| {
                let cuts = Arc::clone(&self.cuts);
                Host::new(move || cuts.notify_one(), kept.clone())
            }),
        }
    }

    pub(crate) fn sink_context(
        &self,
        id: &ComponentId,
        stats: &ComponentStats,
        inputs: Vec<Input>,
    ) -> SinkContext {
        let journal = StateJournal {
            state: self.state.clone(),
            pipeline: Arc::clone(&self.pipeline),
            sink: id.clone(),
        };
        SinkContext {
            common: self.context(id, stats),
            inputs,
            journal: Arc::new(journal),
        }
    }
}

impl Graph {
    /// Opens every component and types the whole graph, before any row moves.
    ///
    /// `schemas` are those that streams changed to in an unfinished run.
    pub(crate) async fn open(
        spec: &PipelineSpec,
        configs: &[Config],
        stats: &[Arc<ComponentStats>],
        around: &Surroundings,
        schemas: &BTreeMap<ComponentId, BTreeMap<StreamName, Schema>>,
    ) -> Result<Self> {
        let mut builder = Builder::new(spec);
        for (node, (component, config)) in spec.components.iter().zip(configs).enumerate() {
            if let Config::Source(config) = config {
                let cx = around.context(&component.id, &stats[node]);
                let source = config
                    .open(&cx)
                    .await
                    .map_err(|e| in_component(e, component))?;
                let mut streams = source.streams();
                for stream in &streams {
                    check_depth(&stream.schema, DEEPEST)
                        .map_err(|error| in_component(error, component))?;
                }
                if let Some(changed) = schemas.get(&component.id) {
                    for stream in &mut streams {
                        if let Some(schema) = changed.get(&stream.name) {
                            stream.schema = Arc::new(schema.clone());
                        }
                    }
                }
                builder.add_source(node, source, streams)?;
            }
        }
        let order = builder.order()?;
        for &node in &order {
            let component = &spec.components[node];
            let edges = builder.resolve(component)?;
            let inputs = builder.inputs(&edges);
            let opened = match &configs[node] {
                Config::Source(_) => continue,
                Config::Transform(config) => {
                    let common = around.context(&component.id, &stats[node]);
                    let cx = TransformContext { common, inputs };
                    Opened::Transform(
                        config
                            .open(&cx)
                            .await
                            .map_err(|e| in_component(e, component))?,
                    )
                }
                Config::Sink(config) => {
                    let cx = around.sink_context(&component.id, &stats[node], inputs);
                    Opened::Sink(
                        config
                            .open(&cx)
                            .await
                            .map_err(|e| in_component(e, component))?,
                    )
                }
            };
            builder.add(node, opened, edges);
        }
        let mut graph = builder.finish(order, stats)?;
        graph.push_down();
        graph.check_guarantees(spec)?;
        graph.check_unbounded()?;
        Ok(graph)
    }

    pub(crate) fn sinks(&self) -> impl Iterator<Item = (NodeId, &Node, &Arc<dyn Sink>)> {
        self.nodes
            .iter()
            .enumerate()
            .filter_map(|(id, node)| match &node.body {
                Body::Sink { sink, .. } => Some((id, node, sink)),
                _ => None,
            })
    }

    pub(crate) fn sources(
        &self,
    ) -> impl Iterator<Item = (NodeId, &Node, &Arc<dyn Source>, &[OpenStream])> {
        self.nodes
            .iter()
            .enumerate()
            .filter_map(|(id, node)| match &node.body {
                Body::Source { source, streams } => Some((id, node, source, streams.as_slice())),
                _ => None,
            })
    }

    /// Whether every stream in use ends by itself.
    pub(crate) fn bounded(&self) -> bool {
        self.sources()
            .flat_map(|(_, _, _, streams)| streams)
            .filter(|stream| stream.scan.is_some())
            .all(|stream| stream.stream.bounded)
    }

    pub(crate) fn has_gather(&self) -> bool {
        self.nodes.iter().any(|node| {
            matches!(
                &node.body,
                Body::Transform {
                    transform: Transform::Gather(_),
                    ..
                }
            )
        })
    }

    pub(crate) fn has_run_visibility(&self) -> bool {
        self.sinks()
            .any(|(_, _, sink)| sink.visibility() == Visibility::Run)
    }

    /// Whether any sink asks for rows in their order.
    pub(crate) fn ordered(&self) -> bool {
        self.sinks().any(|(_, node, sink)| {
            (0..node.inputs.len()).any(|input| sink.distribution(input).ordered)
        })
    }

    /// Asks each stream only for what its consumers need.
    fn push_down(&mut self) {
        let mut scans: Vec<Option<Scan>> = vec![None; self.ports.len()];
        for (port, scan) in self.ports.iter().zip(&mut scans) {
            for &(consumer, input) in &port.consumers {
                let node = &self.nodes[consumer];
                let need = match &node.body {
                    Body::Transform { transform, .. } => transform.scan(input),
                    _ => Scan::all(port.name.as_str()),
                };
                *scan = Some(match scan.take() {
                    None => need,
                    Some(other) => other.union(&need),
                });
            }
        }
        for node in &mut self.nodes {
            if let Body::Source { streams, .. } = &mut node.body {
                for stream in streams {
                    stream.scan = scans[stream.port].take().map(|mut scan| {
                        scan.stream = stream.stream.name.clone();
                        scan
                    });
                }
            }
        }
    }

    /// Computes what each sink can give, and refuses what it is asked for beyond that.
    fn check_guarantees(&mut self, spec: &PipelineSpec) -> Result<()> {
        for id in 0..self.nodes.len() {
            let Body::Sink { sink, .. } = &self.nodes[id].body else {
                continue;
            };
            let given = given(sink.delivery(), self.non_deterministic_upstream(id));
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
                .hint(format!("the best it can give is `{}`", best.name())));
            }
            if let Body::Sink { given: slot, .. } = &mut self.nodes[id].body {
                *slot = given;
            }
        }
        Ok(())
    }

    fn non_deterministic_upstream(&self, node: NodeId) -> Option<&ComponentId> {
        // The transform that is to blame, if there is one.
        let mut open: Vec<NodeId> = vec![node];
        let mut seen = vec![false; self.nodes.len()];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            if let Body::Transform { transform, .. } = &self.nodes[at].body
                && !transform.deterministic()
            {
                return Some(&self.nodes[at].spec.id);
            }
            open.extend(
                self.nodes[at]
                    .inputs
                    .iter()
                    .map(|edge| self.maker(edge.port)),
            );
        }
        None
    }

    /// The node behind a port.
    pub(crate) fn maker(&self, port: PortId) -> NodeId {
        self.ports[port].maker
    }

    /// The schema of the batches that come out of a port: of a stream, only what is asked for.
    pub(crate) fn schema_given(&self, port: PortId) -> Result<SchemaRef> {
        let full = &self.ports[port].schema;
        if let Body::Source { streams, .. } = &self.nodes[self.maker(port)].body
            && let Some(scan) = streams
                .iter()
                .find(|open| open.port == port)
                .and_then(|open| open.scan.as_ref())
        {
            return scan.schema(full);
        }
        Ok(full.clone())
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
                    .hint(
                        "with `scope = \"epoch\"` it works on the rows between two checkpoints; \
                         is that what you mean?",
                    ));
                }
                let late = node.inputs.iter().find(|edge| {
                    matches!(self.nodes[self.maker(edge.port)].body, Body::Sink { .. })
                });
                if let Some(edge) = late {
                    return Err(Error::unsupported(format!(
                        "transform `{}` gathers all rows of `{}`, which a sink rejects only later",
                        node.spec.id, edge.name
                    ))
                    .hint(
                        "write the rejected rows to a sink, and gather them in another pipeline",
                    ));
                }
            }
            if let Body::Sink { sink, .. } = &node.body
                && !bounded
                && sink.visibility() == Visibility::Run
            {
                return Err(Error::config(format!(
                    "sink `{}` shows its rows at the end of the run, but the run never ends",
                    node.spec.id
                ))
                .hint("an overwrite mode needs sources that end; use `mode = \"append\"`"));
            }
        }
        Ok(())
    }
}

fn given(delivery: Delivery, non_deterministic: Option<&ComponentId>) -> Given {
    let (guarantee, reason) = match (delivery, non_deterministic) {
        (Delivery::Observer, _) => (None, None),
        (Delivery::TwoPhase, _) => (Some(Guarantee::ExactlyOnce), None),
        (Delivery::Idempotent, None) => (
            Some(Guarantee::EffectivelyOnce),
            Some(
                "rows may be written again after a crash, with the same effect as once".to_owned(),
            ),
        ),
        (Delivery::Idempotent, Some(transform)) => (
            Some(Guarantee::AtLeastOnce),
            Some(format!(
                "transform `{transform}` may give other rows when it is run again"
            )),
        ),
        (Delivery::AtLeastOnce, _) => (
            Some(Guarantee::AtLeastOnce),
            Some("rows may arrive again after a crash".to_owned()),
        ),
    };
    Given { guarantee, reason }
}

pub(crate) fn in_component(error: Error, component: &ComponentSpec) -> Error {
    error.with("component", &component.id)
}

enum Opened {
    Transform(Transform),
    Sink(Arc<dyn Sink>),
}

struct Builder<'a> {
    spec: &'a PipelineSpec,
    bodies: Vec<Option<(Body, Vec<Edge>)>>,
    ports: Vec<Port>,
    rejected: Vec<PortId>,
    /// Streams of each source, by position.
    streams: HashMap<NodeId, Vec<(StreamName, PortId)>>,
    /// Outputs of transforms. Filled before they are opened, because their schema comes later.
    outputs: HashMap<NodeId, PortId>,
}

impl<'a> Builder<'a> {
    fn new(spec: &'a PipelineSpec) -> Self {
        let mut builder = Self {
            spec,
            bodies: spec.components.iter().map(|_| None).collect(),
            ports: Vec::new(),
            rejected: Vec::new(),
            streams: HashMap::new(),
            outputs: HashMap::new(),
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
        let id = &self.spec.components[node].id;
        let mut open = Vec::new();
        for stream in streams {
            if stream.name.as_str() == StreamName::REJECTED {
                return Err(
                    Error::internal("a source can't have a stream named `rejected`")
                        .with("component", id),
                );
            }
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
        Ok(())
    }

    fn add(&mut self, node: NodeId, opened: Opened, edges: Vec<Edge>) {
        let body = match opened {
            Opened::Transform(transform) => {
                let out = self.outputs[&node];
                self.ports[out].schema = transform.schema();
                Body::Transform { transform, out }
            }
            Opened::Sink(sink) => Body::Sink {
                sink,
                given: Given {
                    guarantee: None,
                    reason: None,
                },
            },
        };
        self.bodies[node] = Some((body, edges));
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
                let streams = self.streams.get(&node).map_or(&[][..], Vec::as_slice);
                match (stream, streams) {
                    (None, [(_, port)]) => Ok(vec![Edge {
                        port: *port,
                        name: entry.into(),
                    }]),
                    (None | Some("*"), all) => Ok(all
                        .iter()
                        .map(|(name, port)| Edge {
                            port: *port,
                            name: format!("{id}.{name}").into(),
                        })
                        .collect()),
                    (Some(name), all) => match all.iter().find(|(known, _)| known.as_str() == name)
                    {
                        Some((_, port)) => Ok(vec![Edge {
                            port: *port,
                            name: entry.into(),
                        }]),
                        None => {
                            let known: Vec<&str> =
                                all.iter().map(|(name, _)| name.as_str()).collect();
                            Err(
                                Error::config(format!("source `{id}` has no stream `{name}`"))
                                    .hint(format!("its streams are: {}", known.join(", "))),
                            )
                        }
                    },
                }
            }
            (Kind::Transform, None) => Ok(vec![Edge {
                port: self.outputs[&node],
                name: entry.into(),
            }]),
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

    /// Transforms and sinks, each after what it reads.
    fn order(&self) -> Result<Vec<NodeId>> {
        let components = &self.spec.components;
        let mut before: Vec<Vec<NodeId>> = Vec::new();
        for component in components {
            let mut needs = Vec::new();
            for entry in &component.inputs {
                let id = entry.split_once('.').map_or(entry.as_str(), |(id, _)| id);
                needs.push(self.find(id).ok_or_else(|| {
                    in_component(
                        Error::config(format!("no component is named `{id}`")),
                        component,
                    )
                })?);
            }
            before.push(needs);
        }
        let mut order: Vec<NodeId> = Vec::new();
        let mut placed: Vec<bool> = components.iter().map(|c| c.kind == Kind::Source).collect();
        while placed.contains(&false) {
            let ready: Vec<NodeId> = (0..components.len())
                .filter(|&node| !placed[node] && before[node].iter().all(|&need| placed[need]))
                .collect();
            if ready.is_empty() {
                let stuck: Vec<&str> = (0..components.len())
                    .filter(|&node| !placed[node])
                    .map(|node| components[node].id.as_str())
                    .collect();
                return Err(Error::config(format!(
                    "`inputs` go in a circle: {}",
                    stuck.join(", ")
                )));
            }
            for node in ready {
                placed[node] = true;
                order.push(node);
            }
        }
        Ok(order)
    }

    fn finish(mut self, order: Vec<NodeId>, stats: &[Arc<ComponentStats>]) -> Result<Graph> {
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
        let graph = Graph {
            nodes,
            ports: self.ports,
            order,
        };
        for (_, node, sink) in graph.sinks() {
            for (input, edge) in node.inputs.iter().enumerate() {
                if let Spread::Hash(columns) = sink.distribution(input).spread {
                    let schema = &graph.ports[edge.port].schema;
                    for column in columns {
                        schema.index_of(&column).map_err(|_| {
                            Error::schema(format!("`{}` has no column `{column}`", edge.name))
                                .with("component", &node.spec.id)
                        })?;
                    }
                }
            }
        }
        Ok(graph)
    }
}

/// In the place of a pipeline's and a component's name: what all of them share. Neither can be
/// called so.
const SHARED: &str = "<shared>";

/// The key-value store of one component, or the one of all.
#[derive(Debug)]
struct Values {
    state: Arc<dyn StateStore>,
    pipeline: Arc<str>,
    component: Arc<str>,
}

#[async_trait]
impl KeyValue for Values {
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        self.state
            .get_value(&self.pipeline, &self.component, key)
            .await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool> {
        self.state
            .compare_and_set_value(&self.pipeline, &self.component, key, expected, value)
            .await
    }
}

/// The journal of one sink.
#[derive(Debug)]
struct StateJournal {
    state: Option<(Arc<dyn StateStore>, Fence)>,
    pipeline: Arc<str>,
    sink: ComponentId,
}

#[async_trait]
impl Journal for StateJournal {
    async fn begin(&self, epoch: Epoch, token: Token) -> Result<()> {
        let Some((state, fence)) = &self.state else {
            return Err(Error::internal(
                "a sink began to write while it was only checked",
            ));
        };
        let change = Change::Begun {
            sink: self.sink.clone(),
            epoch,
            token,
        };
        state.apply(&self.pipeline, *fence, change).await
    }
}
