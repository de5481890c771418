//! The pipeline as a graph: components opened in order, typed from the sources down.
//!
//! ```text
//! build.rs ── opens, joins ──> Graph ──> push_down ──> checks.rs, guarantees.rs, origins.rs
//!                               └──> streaming.rs: which stages take rows as they come
//! alone.rs: what one executor alone can work on; memory.rs: who may hold how much
//! surroundings.rs: what a component is opened with; records.rs: what it notes in the state
//! ```

mod alone;
mod build;
mod checks;
mod guarantees;
mod memory;
mod origins;
mod records;
mod streaming;
mod surroundings;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use tidegate_core::{
    ComponentConfig, ComponentId, ComponentSpec, Distribution, Error, Map, PipelineSpec, Replay,
    Result, Scan, Sink, Source, Spread, Stream, StreamName, Transform, Visibility,
};

use crate::stats::{ComponentStats, Given};
use build::{Builder, close};
use memory::Shares;

pub(crate) use alone::Alone;
pub(crate) use records::{Answer, Question, Records, StateRecords};
pub(crate) use streaming::{MOST_GATES, Streaming};
pub(crate) use surroundings::Surroundings;

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
    pub(crate) shares: Shares,
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
        /// Where its answers go, if anything reads them.
        answers: Option<PortId>,
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

/// Something that gives batches: a stream, a transform, a component's rejected rows, a sink's
/// answers.
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

impl Graph {
    /// Opens every component and resolves and checks the schemas of the whole graph, before any row moves.
    ///
    /// `schemas` are those that streams changed to in an unfinished run.
    pub(crate) async fn open(
        spec: &PipelineSpec,
        configs: &[ComponentConfig],
        stats: &[Arc<ComponentStats>],
        around: &Surroundings,
        schemas: &BTreeMap<ComponentId, BTreeMap<StreamName, Schema>>,
    ) -> Result<Self> {
        let mut builder = Builder::new(spec);
        match builder.open_all(configs, stats, around, schemas).await {
            Ok(order) => {
                let mut graph = builder.finish(order, stats, around)?;
                graph.push_down();
                let checked = graph.check(spec);
                if checked.is_err() {
                    graph.release().await;
                }
                checked.map(|()| graph)
            }
            Err(error) => {
                builder.close().await;
                Err(error)
            }
        }
    }

    /// Releases what the components hold. After [`Pipeline::check`]: a run does so by itself.
    ///
    /// [`Pipeline::check`]: crate::Pipeline::check
    pub async fn close(self) {
        self.release().await;
    }

    /// Closes the components. Their contexts may still be in use by threads that end.
    pub(crate) async fn release(&self) {
        for node in &self.nodes {
            close(&node.spec.id, &node.body).await;
        }
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

    /// The streams of a source; none of another component.
    pub(crate) fn streams(&self, source: NodeId) -> &[OpenStream] {
        match &self.nodes[source].body {
            Body::Source { streams, .. } => streams,
            _ => &[],
        }
    }

    /// Those that are read.
    fn used(&self, source: NodeId) -> impl Iterator<Item = &OpenStream> {
        let streams = self.streams(source).iter();
        streams.filter(|open| open.scan.is_some())
    }

    /// What is asked of a source's streams in use.
    pub(crate) fn scans(&self, source: NodeId) -> Arc<[Scan]> {
        let used = self.used(source);
        used.filter_map(|open| open.scan.clone()).collect()
    }

    /// Whether a source's rows are those of a snapshot that lives as long as this process.
    pub(crate) fn has_session(&self) -> bool {
        (0..self.nodes.len()).any(|node| self.replay(node) == Some(Replay::Session))
    }

    /// What the source can do for its streams in use after a crash, where it can do the least; `None`
    /// if it isn't a source, or nothing reads it.
    pub(crate) fn replay(&self, source: NodeId) -> Option<Replay> {
        self.used(source).map(|open| open.stream.replay).max()
    }

    /// The streams in use of a source that can only be read whole.
    pub(crate) fn read_whole(&self, source: NodeId) -> Arc<[StreamName]> {
        let whole = self
            .used(source)
            .filter(|open| open.stream.replay == Replay::Whole);
        whole.map(|open| open.stream.name.clone()).collect()
    }

    /// Whether any sink asks for rows in their order.
    pub(crate) fn ordered(&self) -> bool {
        self.sinks().any(|(_, node, sink)| {
            (0..node.inputs.len()).any(|input| sink.distribution(input).ordered)
        })
    }

    /// Whether the rows of a port have an order that has to be kept: those of an ordered stage, also
    /// behind maps of nothing else.
    pub(crate) fn in_order(&self, port: PortId) -> bool {
        let maker = &self.nodes[self.maker(port)];
        let transform = match &maker.body {
            Body::Transform { transform, out } if *out == port => transform,
            _ => return false,
        };
        match (transform, maker.inputs.as_slice()) {
            (Transform::Gather(gather), _) => gather.ordered(),
            (Transform::Map(_), [only]) => self.in_order(only.port),
            _ => false,
        }
    }

    /// How the rows of each of a sink's inputs are spread over its writers: as the sink asks for, and
    /// rows that have an order to one of them.
    pub(crate) fn distributions(&self, node: &Node, sink: &Arc<dyn Sink>) -> Vec<Distribution> {
        let inputs = node.inputs.iter().enumerate();
        let distributions = inputs.map(|(input, edge)| {
            let mut distribution = sink.distribution(input);
            if self.in_order(edge.port) {
                distribution.ordered = true;
                if distribution.spread == Spread::Any {
                    distribution.spread = Spread::Single;
                }
            }
            distribution
        });
        distributions.collect()
    }

    /// Asks each stream only for what its consumers need.
    fn push_down(&mut self) {
        let mut scans: Vec<Option<Scan>> = vec![None; self.ports.len()];
        for (port, scan) in self.ports.iter().zip(&mut scans) {
            for &(consumer, input) in &port.consumers {
                let node = &self.nodes[consumer];
                let mut need = match &node.body {
                    Body::Transform { transform, .. } => transform.scan(input),
                    _ => Scan::all(port.name.as_str()),
                };
                if let Some((map, _)) = self.map(consumer)
                    && map.rejects_whole_rows()
                    && self.shows_rejected(consumer)
                {
                    need.columns = None;
                }
                need.places |= self.asks_for_places(consumer);
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

    /// Whether somebody reads the rows that a component rejects.
    fn shows_rejected(&self, node: NodeId) -> bool {
        !self.ports[self.nodes[node].rejected].consumers.is_empty()
    }

    /// Whether it matters where the rows stand that come to a node: to those who read what it, or a
    /// map behind it, rejects.
    fn asks_for_places(&self, node: NodeId) -> bool {
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            let Some((_, out)) = self.map(node) else {
                continue;
            };
            if self.shows_rejected(node) {
                return true;
            }
            open.extend(self.ports[out].consumers.iter().map(|(next, _)| *next));
        }
        false
    }

    /// A node that is a map, and where its rows go.
    fn map(&self, node: NodeId) -> Option<(&Arc<dyn Map>, PortId)> {
        match &self.nodes[node].body {
            Body::Transform {
                transform: Transform::Map(map),
                out,
            } => Some((map, *out)),
            _ => None,
        }
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
}

pub(crate) fn in_component(error: Error, component: &ComponentSpec) -> Error {
    error.with("component", &component.id)
}
