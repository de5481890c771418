//! How batches flow through the graph: from a port to all that read it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use tidegate_core::{
    Epoch, Error, Origin, Origins, Position, Rejected, Result, RowPlaces, SinkBatch, Transform,
    guarded,
};

use super::exchange::Writers;
use super::inlet::Inlet;
use super::queue::Mark;
use super::shared::Shared;
use super::spool::{Budget, Spool};
use super::stage::{self, Begun};
use crate::graph::{Body, Graph, NodeId, PortId, Surroundings};

/// Batches smaller than this are joined before they go on to a stage or a writer.
const SMALL_ROWS: usize = 8 << 10;
/// Batches larger than this are cut.
const LARGE_ROWS: usize = 64 << 10;

/// Where one epoch's rows end: its writers, and what its stages collect.
pub(crate) struct EpochSet {
    pub(crate) writers: HashMap<NodeId, Writers>,
    pub(crate) inlets: HashMap<(NodeId, usize), Arc<Inlet>>,
    pub(crate) begun: Begun,
    /// Rows that each component rejected.
    pub(crate) rejected: Vec<AtomicU64>,
}

impl EpochSet {
    pub(crate) fn new(graph: &Graph, epoch: Epoch, around: &Surroundings) -> Result<Self> {
        let workers = around.runtime.workers();
        let scratch = around.scratch.join("stages");
        let writers = graph
            .sinks()
            .map(|(id, node, sink)| {
                let distributions = graph.distributions(node, sink);
                let writers = Writers::new(id, sink, distributions, &node.stats, epoch, workers);
                (id, writers)
            })
            .collect();
        let budget = Budget::new(graph.shares.spools, around.spill);
        let mut inlets = HashMap::new();
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
                let spool = Spool::new(schema, workers, &budget, &scratch, name);
                let inlet = Inlet::new(id, input, columns, spool);
                inlets.insert((id, input), Arc::new(inlet));
            }
        }
        Ok(Self {
            writers,
            inlets,
            begun: Begun::default(),
            rejected: graph.nodes.iter().map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Where the rows of a stage's input go.
    pub(crate) fn inlet(&self, stage: NodeId, input: usize) -> Result<&Arc<Inlet>> {
        let inlet = self.inlets.get(&(stage, input));
        inlet.ok_or_else(|| Error::internal("rows came to a stage that has no such input"))
    }

    /// Whether any row came to a writer or a stage.
    pub(crate) fn has_rows(&self) -> bool {
        self.writers.values().any(|writers| writers.rows() > 0)
            || self.inlets.values().any(|inlet| inlet.rows() > 0)
    }
}

/// Carries batches of one epoch through the graph, on one thread; holds small ones back to join
/// them.
pub(crate) struct Carrier {
    shared: Arc<Shared>,
    set: Arc<EpochSet>,
    worker: usize,
    held: BTreeMap<(NodeId, usize), Held>,
    event: Option<Event>,
    places: Option<Places>,
    /// Rows that the source or a map rejected, of what came in since this was last asked for.
    rejected: u64,
}

#[derive(Default)]
struct Held {
    batches: Vec<RecordBatch>,
    rows: usize,
    origins: Option<Origins>,
}

/// The event whose rows are carried.
struct Event {
    mark: Mark,
    /// Where a sink wants origins.
    origin: Option<EventOrigin>,
}

/// Where an event's rows come from.
struct EventOrigin {
    /// The last position before it.
    position: Arc<Position>,
    /// How many rows have come to each input of a sink that wants to know.
    rows: HashMap<(NodeId, usize), u64>,
}

/// Where the rows stand that are carried.
struct Places {
    rows: Box<dyn RowPlaces>,
    /// The number of the batch's first row.
    first: usize,
    /// How many maps the batch has gone through: behind one, rows have other numbers.
    maps: usize,
}

impl Places {
    /// Where the `row`-th row of the batch stands.
    fn origin(&mut self, row: usize) -> Result<Origin> {
        if self.maps == 0 {
            return self.rows.origin(self.first + row);
        }
        let Origin { split, file, .. } = self.rows.origin(self.first)?;
        Ok(Origin {
            split,
            file,
            ..Origin::default()
        })
    }
}

impl Carrier {
    pub(crate) fn new(shared: &Arc<Shared>, set: Arc<EpochSet>, worker: usize) -> Self {
        Self {
            shared: Arc::clone(shared),
            set,
            worker,
            held: BTreeMap::new(),
            event: None,
            places: None,
            rejected: 0,
        }
    }

    /// Continues with another epoch. Nothing may be held.
    pub(crate) fn enter(&mut self, set: Arc<EpochSet>) {
        debug_assert!(!self.is_holding());
        self.set = set;
    }

    /// Continues with the rows of another event; of a stage, which has none.
    pub(crate) fn begin(&mut self, source: NodeId, mark: Option<Mark>) {
        self.event = mark.map(|mark| Event {
            origin: mark.origins.then(|| {
                let position = Position {
                    source: self.shared.id(source).clone(),
                    split: mark.split.clone(),
                    offset: mark.offset.clone(),
                };
                EventOrigin {
                    position: Arc::new(position),
                    rows: HashMap::new(),
                }
            }),
            mark,
        });
    }

    /// Says where the rows stand that are delivered next, if that is known.
    pub(crate) fn stand(&mut self, places: Option<Box<dyn RowPlaces>>) {
        self.places = places.map(|rows| Places {
            rows,
            first: 0,
            maps: 0,
        });
    }

    /// Continues behind so many rows.
    pub(crate) fn stand_behind(&mut self, rows: usize) {
        if let Some(places) = &mut self.places {
            places.first += rows;
        }
    }

    /// The origins of the next rows of the event that come to a sink that wants them.
    fn origins(&mut self, consumer: NodeId, input: usize, rows: usize) -> Result<Option<Origins>> {
        let writers = self.set.writers.get(&consumer);
        if !writers.is_some_and(Writers::wants_origins) {
            return Ok(None);
        }
        let event = self.event.as_mut();
        let known = event.and_then(|event| Some((event.mark.number, event.origin.as_mut()?)));
        let (number, origin) = known.ok_or_else(|| {
            Error::internal("rows came to a sink without their origins")
                .with("component", self.shared.id(consumer))
        })?;
        let count = origin.rows.entry((consumer, input)).or_default();
        let mut origins = Origins::default();
        // Events after one position follow each other in the number's upper half.
        origins.push(&origin.position, (u64::from(number) << 32) + *count, rows);
        *count += rows as u64;
        Ok(Some(origins))
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
        let graph = Arc::clone(&self.shared.graph);
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
        let graph = Arc::clone(&self.shared.graph);
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
        let mut mapped = guarded("a transform", || map.map(input, batch))
            .map_err(|error| error.with("component", &node.spec.id))?;
        node.stats.add_busy(began);
        node.stats.add_rows_in(batch.num_rows() as u64);
        if let Some(places) = &mut self.places {
            for rejected in &mut mapped.rejected.rows {
                if let (Some(row), None) = (rejected.row_of_batch, &rejected.origin.file) {
                    rejected.origin = places.origin(row)?;
                }
            }
        }
        self.reject(id, mapped.rejected)?;
        node.stats
            .ignored
            .add(Some(node.spec.id.as_str()), mapped.ignored);
        self.count_maps(1);
        for batch in &mapped.batches {
            node.stats.add_rows_out(batch.num_rows() as u64);
            self.deliver(*out, batch)?;
        }
        self.count_maps(-1);
        Ok(())
    }

    fn count_maps(&mut self, more: isize) {
        if let Some(places) = &mut self.places {
            places.maps = places.maps.saturating_add_signed(more);
        }
    }

    /// Passes rows that a component could not take to whoever reads them.
    pub(crate) fn reject(&mut self, id: NodeId, mut rejected: Rejected) -> Result<()> {
        if rejected.is_empty() {
            return Ok(());
        }
        let graph = Arc::clone(&self.shared.graph);
        let node = &graph.nodes[id];
        let count = rejected.len() as u64;
        node.stats.add_rejected(count);
        self.set.rejected[id].fetch_add(count, Ordering::Relaxed);
        if matches!(node.body, Body::Sink { .. }) {
            // They were counted as written: it may be another batch that they come with.
            node.stats.take_rows_out(count);
        } else {
            self.rejected += count;
            if let Some(event) = &self.event {
                for row in &mut rejected.rows {
                    row.origin
                        .split
                        .get_or_insert_with(|| event.mark.split.clone());
                }
            }
        }
        if graph.ports[node.rejected].consumers.is_empty()
            && let Some(first) = rejected.rows.first()
        {
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

    /// Passes what a sink was answered to whoever reads it.
    pub(crate) fn answer(&mut self, id: NodeId, answers: &[RecordBatch]) -> Result<()> {
        let graph = Arc::clone(&self.shared.graph);
        let port = match graph.nodes[id].body {
            Body::Sink {
                answers: Some(port),
                ..
            } => port,
            // Nobody reads them.
            _ => return Ok(()),
        };
        for batch in answers {
            if batch.schema() != graph.ports[port].schema {
                return Err(Error::internal("a sink gave answers of another schema"));
            }
            self.deliver(port, batch)?;
        }
        Ok(())
    }

    fn hold(&mut self, consumer: NodeId, input: usize, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        let origins = self.origins(consumer, input, rows)?;
        if rows >= SMALL_ROWS {
            // What came before goes first.
            self.let_go(consumer, input)?;
            let batch = SinkBatch {
                input,
                rows: batch.clone(),
                origins,
            };
            let mut from = 0;
            while from < rows {
                let part = LARGE_ROWS.min(rows - from);
                self.arrive(consumer, batch.slice(from, part))?;
                from += part;
            }
            return Ok(());
        }
        let held = self.held.entry((consumer, input)).or_default();
        held.rows += rows;
        held.batches.push(batch.clone());
        if let Some(origins) = origins {
            held.origins.get_or_insert_default().extend(origins);
        }
        if held.rows >= SMALL_ROWS {
            self.let_go(consumer, input)?;
        }
        Ok(())
    }

    fn let_go(&mut self, consumer: NodeId, input: usize) -> Result<()> {
        let Some(held) = self.held.remove(&(consumer, input)) else {
            return Ok(());
        };
        let rows = match held.batches.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            many => concat_batches(&many[0].schema(), many)?,
        };
        let batch = SinkBatch {
            input,
            rows,
            origins: held.origins,
        };
        self.arrive(consumer, batch)
    }

    /// Lets go of all that is held back.
    pub(crate) fn flush(&mut self) -> Result<()> {
        // What a writer rejects may be held again for another sink.
        while let Some(&(consumer, input)) = self.held.keys().next() {
            self.let_go(consumer, input)?;
        }
        Ok(())
    }

    fn arrive(&mut self, id: NodeId, batch: SinkBatch) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let node = &shared.graph.nodes[id];
        if let Some(inlet) = self.set.inlets.get(&(id, batch.input)) {
            node.stats.add_rows_in(batch.rows.num_rows() as u64);
            inlet
                .push(&shared, self.worker, &batch.rows)
                .map_err(|error| error.with("component", &node.spec.id))?;
            stage::hold_back(&shared, &self.set, id, batch.input);
            return Ok(());
        }
        let Some(writers) = self.set.writers.get(&id) else {
            return Err(Error::internal("rows came to a component that takes none"));
        };
        let rejected = writers
            .write(&shared, &self.set, self.worker, batch)
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
