//! What keeps rows from piling up before what takes them slowly, without holding up others.
//!
//! An I/O sink takes all that a worker gives it, so no worker ever waits. While too much waits for
//! it, its gate is shut: the queue hands out nothing that leads to it. The gate of a sink with CPU
//! writers is shut while its epoch isn't ready for more. A stage's input that is streamed has a gate
//! of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tidegate_core::{InFlight, StreamName, Transform};

use super::queue::From;
use crate::graph::{Body, Graph, MOST_GATES, NodeId, PortId};

/// How many writes may wait for each writer before the gate shuts.
const WAITING_WRITES: usize = 2;

/// How many bytes may wait for a stage before the gate shuts.
const STREAMED: u64 = 4 << 20;

/// What has a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Sink(NodeId),
    /// An input of a stage.
    Stage(NodeId, usize),
}

/// The gates that rows may come to, as bits. More than 64 sinks share them; then no stage's input
/// has one.
pub(crate) type Sinks = u64;

/// The gates of all sinks and streamed inputs of stages.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    shut: AtomicU64,
    gates: HashMap<NodeId, Gate>,
    /// Of inputs of stages.
    inputs: HashMap<(NodeId, usize), Gate>,
    ports: Vec<Sinks>,
    streams: HashMap<(NodeId, StreamName), Sinks>,
}

#[derive(Debug)]
struct Gate {
    bit: Sinks,
    limits: InFlight,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    writes: usize,
}

impl Gates {
    /// More bytes than any sink holds, and so few that several of them can be counted.
    pub(crate) const MUCH: u64 = 1 << 60;

    /// `streamed`: the inputs of stages that take rows as they come.
    pub(crate) fn new(graph: &Graph, streamed: &BTreeSet<(NodeId, usize)>) -> Self {
        let gates = graph.sinks().zip(0_usize..);
        let gates = gates.map(|((id, _, sink), number)| (id, Gate::new(number, sink.in_flight())));
        let gates: HashMap<_, _> = gates.collect();
        let inputs = streamed.iter().zip(gates.len()..).map(|(input, number)| {
            let limits = InFlight {
                bytes: STREAMED,
                writers: usize::MAX,
                ..InFlight::default()
            };
            (*input, Gate::new(number, limits))
        });
        let mut gates = Self {
            inputs: inputs.collect(),
            gates,
            ..Self::default()
        };
        gates.ports = (0..graph.ports.len())
            .map(|port| gates.behind(graph, port))
            .collect();
        for (id, node, _, streams) in graph.sources() {
            for open in streams {
                let sinks = gates.ports[open.port] | gates.ports[node.rejected];
                gates.streams.insert((id, open.stream.name.clone()), sinks);
            }
        }
        gates
    }

    /// The gates that a port's rows, or what is rejected of them or answered to them, come to without a
    /// stage between.
    fn behind(&self, graph: &Graph, port: PortId) -> Sinks {
        let mut sinks = 0;
        for &(consumer, input) in &graph.ports[port].consumers {
            let node = &graph.nodes[consumer];
            match &node.body {
                Body::Sink { answers, .. } => {
                    sinks |= self.gates.get(&consumer).map_or(0, |gate| gate.bit);
                    sinks |= self.behind(graph, node.rejected);
                    sinks |= answers.map_or(0, |port| self.behind(graph, port));
                }
                Body::Transform {
                    transform: Transform::Map(_),
                    out,
                } => {
                    sinks |= self.behind(graph, *out) | self.behind(graph, node.rejected);
                }
                Body::Transform { .. } => {
                    let gate = self.inputs.get(&(consumer, input));
                    sinks |= gate.map_or(0, |gate| gate.bit);
                }
                Body::Source { .. } => {}
            }
        }
        sinks
    }

    /// The gates that rows come to.
    pub(crate) fn reached(&self, from: &From) -> Sinks {
        match from {
            From::Stage(port, _) => self.ports.get(*port).copied().unwrap_or_default(),
            From::Stream(split, stream) => {
                let found = self.streams.get(&(split.source, stream.clone()));
                found.copied().unwrap_or_default()
            }
        }
    }

    /// Those before which nothing is to be handed out.
    pub(crate) fn shut(&self) -> Sinks {
        self.shut.load(Ordering::Relaxed)
    }

    /// Counts a write in. Says whether that shuts the gate.
    pub(crate) fn enter(&self, place: Place, bytes: u64) -> bool {
        self.change(place, |held| {
            held.bytes += bytes;
            held.writes += 1;
        })
    }

    /// Counts a write out. Says whether that opens the gate.
    pub(crate) fn leave(&self, place: Place, bytes: u64) -> bool {
        self.change(place, |held| {
            held.bytes -= bytes;
            held.writes -= 1;
        })
    }

    fn change(&self, place: Place, change: impl FnOnce(&mut Held)) -> bool {
        let gate = match place {
            Place::Sink(sink) => self.gates.get(&sink),
            Place::Stage(stage, input) => self.inputs.get(&(stage, input)),
        };
        let Some(gate) = gate else {
            return false;
        };
        let mut held = gate.held.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut held);
        let full = held.bytes >= gate.limits.bytes.min(Self::MUCH)
            || held.writes >= gate.limits.writers.saturating_mul(1 + WAITING_WRITES);
        // Under the lock, so that the last change decides.
        let before = match full {
            true => self.shut.fetch_or(gate.bit, Ordering::Relaxed),
            false => self.shut.fetch_and(!gate.bit, Ordering::Relaxed),
        };
        (before & gate.bit != 0) != full
    }
}

impl Gate {
    fn new(number: usize, limits: InFlight) -> Self {
        Self {
            bit: 1 << (number % MOST_GATES),
            limits,
            held: Mutex::default(),
        }
    }
}

#[cfg(test)]
impl Gates {
    /// Of one sink that takes a byte, to which a stream of a source leads.
    pub(crate) fn one(sink: NodeId, source: NodeId, stream: &str) -> Self {
        let limits = InFlight {
            bytes: 1,
            ..InFlight::default()
        };
        Self {
            gates: HashMap::from([(sink, Gate::new(0, limits))]),
            streams: HashMap::from([((source, stream.into()), 1)]),
            ..Self::default()
        }
    }
}
