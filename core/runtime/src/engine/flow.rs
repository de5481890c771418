//! How batches flow through the graph: from a port to all that read it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use tidegate_core::{Epoch, Error, Rejected, Result, Transform};
use tokio::runtime::Handle;

use super::exchange::Writers;
use super::spool::{Budget, Spool};
use crate::graph::{Body, Graph, NodeId, PortId};

/// Batches smaller than this are joined before they go on to a stage or a writer.
const SMALL_ROWS: usize = 8 << 10;
/// Batches larger than this are cut.
const LARGE_ROWS: usize = 64 << 10;

/// Where one epoch's rows end: its writers, and what its stages collect.
pub(crate) struct EpochSet {
    pub(crate) epoch: Epoch,
    pub(crate) writers: HashMap<NodeId, Writers>,
    pub(crate) spools: HashMap<(NodeId, usize), Arc<Spool>>,
}

impl EpochSet {
    pub(crate) fn new(
        graph: &Graph,
        epoch: Epoch,
        workers: usize,
        memory: u64,
        scratch: &Path,
    ) -> Result<Self> {
        let writers = graph
            .sinks()
            .map(|(id, node, sink)| {
                (
                    id,
                    Writers::new(sink, node.inputs.len(), &node.stats, epoch, workers),
                )
            })
            .collect();
        let budget = Budget::new(memory);
        let mut spools = HashMap::new();
        for (id, node) in graph.nodes.iter().enumerate() {
            let Body::Transform {
                transform: Transform::Gather(gather),
                ..
            } = &node.body
            else {
                continue;
            };
            for (input, edge) in node.inputs.iter().enumerate() {
                let given = graph.schema_given(edge.port)?;
                let columns = gather
                    .scan(input)
                    .columns
                    .is_some()
                    .then(|| gather.scan(input).indices(&given));
                let columns = columns.transpose()?;
                let schema = match &columns {
                    Some(columns) => Arc::new(given.project(columns)?),
                    None => given,
                };
                let name = format!("{}-{input}-{epoch}", node.spec.id);
                let spool = Spool::new(schema, columns, workers, &budget, scratch, name);
                spools.insert((id, input), Arc::new(spool));
            }
        }
        Ok(Self {
            epoch,
            writers,
            spools,
        })
    }

    /// Whether any row came to a writer or a stage.
    pub(crate) fn has_rows(&self) -> bool {
        use tidegate_core::Gathered as _;
        self.writers.values().any(|writers| writers.rows() > 0)
            || self.spools.values().any(|spool| spool.rows() > 0)
    }
}

/// Carries batches of one epoch through the graph, on one thread; holds small ones back to join
/// them.
pub(crate) struct Carrier {
    graph: Arc<Graph>,
    set: Arc<EpochSet>,
    runtime: Handle,
    worker: usize,
    held: BTreeMap<(NodeId, usize), Held>,
    /// Rows that the source or a map rejected, of what came in since this was last asked for.
    rejected: u64,
}

#[derive(Default)]
struct Held {
    batches: Vec<RecordBatch>,
    rows: usize,
}

impl Carrier {
    pub(crate) fn new(
        graph: &Arc<Graph>,
        set: Arc<EpochSet>,
        runtime: Handle,
        worker: usize,
    ) -> Self {
        Self {
            graph: Arc::clone(graph),
            set,
            runtime,
            worker,
            held: BTreeMap::new(),
            rejected: 0,
        }
    }

    /// Goes on with another epoch. Nothing may be held.
    pub(crate) fn enter(&mut self, set: Arc<EpochSet>) {
        debug_assert!(!self.is_holding());
        self.set = set;
    }

    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// How many rows were rejected, before they came to a sink or a stage, since this was last asked.
    pub(crate) fn take_rejected(&mut self) -> u64 {
        std::mem::take(&mut self.rejected)
    }

    /// Gives a batch to all that read the port.
    pub(crate) fn deliver(&mut self, port: PortId, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let graph = Arc::clone(&self.graph);
        for &(consumer, input) in &graph.ports[port].consumers {
            match &graph.nodes[consumer].body {
                Body::Transform {
                    transform: Transform::Map(_),
                    ..
                } => {
                    self.map(consumer, input, batch)?;
                }
                _ => self.hold(consumer, input, batch)?,
            }
        }
        Ok(())
    }

    fn map(&mut self, id: NodeId, input: usize, batch: &RecordBatch) -> Result<()> {
        let graph = Arc::clone(&self.graph);
        let node = &graph.nodes[id];
        let Body::Transform {
            transform: Transform::Map(map),
            out,
        } = &node.body
        else {
            return Err(Error::internal(
                "a component that isn't a map was asked to map",
            ));
        };
        let began = Instant::now();
        let mapped = map
            .map(input, batch)
            .map_err(|error| error.with("component", &node.spec.id))?;
        node.stats.add_busy(began);
        node.stats.add_rows_in(batch.num_rows() as u64);
        self.reject(id, mapped.rejected)?;
        node.stats
            .ignored
            .add(Some(node.spec.id.as_str()), mapped.ignored);
        for batch in &mapped.batches {
            node.stats.add_rows_out(batch.num_rows() as u64);
            self.deliver(*out, batch)?;
        }
        Ok(())
    }

    /// Passes rows that a component could not take to whoever reads them.
    pub(crate) fn reject(&mut self, id: NodeId, rejected: Rejected) -> Result<()> {
        let Some(first) = rejected.rows.first() else {
            return Ok(());
        };
        let node = &self.graph.nodes[id];
        node.stats.add_rejected(rejected.len() as u64);
        self.rejected += rejected.len() as u64;
        if self.graph.ports[node.rejected].consumers.is_empty() {
            let mut error = Error::data(format!("a row was rejected: {}", first.reason))
                .with("component", &node.spec.id);
            if let Some(file) = &first.origin.file {
                error = error.with("file", file);
            }
            if let Some(line) = first.origin.line {
                error = error.with("line", line);
            } else if let Some(offset) = first.origin.offset {
                error = error.with("offset", offset);
            }
            return Err(error.with("row", excerpt(&first.row)).hint(format!(
                "to go on without such rows, give a sink `inputs = [\"{}.rejected\"]`",
                node.spec.id
            )));
        }
        let (port, id) = (node.rejected, node.spec.id.clone());
        self.deliver(port, &rejected.to_batch(&id)?)
    }

    fn hold(&mut self, consumer: NodeId, input: usize, batch: &RecordBatch) -> Result<()> {
        let held = self.held.entry((consumer, input)).or_default();
        if held.rows == 0 && batch.num_rows() >= SMALL_ROWS {
            self.held.remove(&(consumer, input));
            let mut from = 0;
            while from < batch.num_rows() {
                let rows = LARGE_ROWS.min(batch.num_rows() - from);
                self.arrive(consumer, input, batch.slice(from, rows))?;
                from += rows;
            }
            return Ok(());
        }
        held.rows += batch.num_rows();
        held.batches.push(batch.clone());
        if held.rows >= SMALL_ROWS {
            self.let_go(consumer, input)?;
        }
        Ok(())
    }

    fn let_go(&mut self, consumer: NodeId, input: usize) -> Result<()> {
        let Some(held) = self.held.remove(&(consumer, input)) else {
            return Ok(());
        };
        let batch = match held.batches.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            many => concat_batches(&many[0].schema(), many)?,
        };
        self.arrive(consumer, input, batch)
    }

    /// Lets go of all that is held back.
    pub(crate) fn flush(&mut self) -> Result<()> {
        // What a writer rejects may be held again for another sink.
        while let Some(&(consumer, input)) = self.held.keys().next() {
            self.let_go(consumer, input)?;
        }
        Ok(())
    }

    fn arrive(&mut self, id: NodeId, input: usize, batch: RecordBatch) -> Result<()> {
        let node = &self.graph.nodes[id];
        if let Some(spool) = self.set.spools.get(&(id, input)) {
            node.stats.add_rows_in(batch.num_rows() as u64);
            return spool
                .push(self.worker, &batch)
                .map_err(|error| error.with("component", &node.spec.id));
        }
        let Some(writers) = self.set.writers.get(&id) else {
            return Err(Error::internal("rows came to a component that takes none"));
        };
        let rejected = writers
            .write(&self.runtime, input, batch)
            .map_err(|error| error.with("component", &node.spec.id))?;
        // Batches come to a sink joined, so nobody knows from which split these rows are.
        let before = self.rejected;
        self.reject(id, rejected)?;
        self.rejected = before;
        Ok(())
    }
}

fn excerpt(row: &str) -> String {
    const MOST: usize = 200;
    match row.char_indices().nth(MOST) {
        None => row.to_owned(),
        Some((end, _)) => format!("{}…", &row[..end]),
    }
}
