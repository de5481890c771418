//! A CPU thread: takes events off the queue, decodes them, and carries the rows on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidegate_core::{Decoded, Error, Result, Rows, STACK_SIZE, guarded};

use super::flow::Carrier;
use super::queue::{From, Handed, Purpose, Work};
use super::shared::Shared;
use crate::graph::{NodeId, PortId};

/// How long small batches are held back at most, however steadily more of them come.
const LONGEST_HELD: Duration = Duration::from_millis(200);

/// Starts the workers; they end when the queue is closed.
pub(crate) fn start(shared: &Arc<Shared>) -> Result<Vec<JoinHandle<()>>> {
    (0..shared.around.runtime.workers())
        .map(|worker| {
            let shared = Arc::clone(shared);
            std::thread::Builder::new()
                .name(format!("worker-{worker}"))
                .stack_size(STACK_SIZE)
                .spawn(move || {
                    if let Err(error) = guarded("a worker", || work(&shared, worker)) {
                        shared.fail(error);
                    }
                })
                .map_err(|error| Error::io("a worker thread can't be started", error))
        })
        .collect()
}

fn work(shared: &Arc<Shared>, worker: usize) -> Result<()> {
    let mut carrier = Carrier::new(shared, shared.current(), worker);
    let mut owed = Owed::default();
    loop {
        let (handed, waited) = shared.queue.next(worker, owed.count > 0);
        shared.stats.add_starved(waited);
        match handed {
            Handed::Closed => return Ok(()),
            Handed::Flush => owed.pay(shared, &mut carrier)?,
            Handed::Work(work) => {
                let purpose = work.purpose();
                if owed.count > 0 && owed.purpose != purpose {
                    owed.pay(shared, &mut carrier)?;
                }
                if owed.count == 0 {
                    let set = match &work.from {
                        From::Stage(_, set) => Arc::clone(set),
                        From::Stream(..) => shared.current(),
                    };
                    carrier.enter(set);
                    owed = Owed {
                        purpose,
                        count: 0,
                        of: BTreeMap::new(),
                        since: Instant::now(),
                    };
                }
                owed.count += 1;
                if let From::Stream(split, _) = &work.from {
                    *owed.of.entry(split.source).or_default() += 1;
                }
                process(shared, &mut carrier, work)?;
                if owed.since.elapsed() >= LONGEST_HELD {
                    carrier.flush()?;
                }
                if !carrier.is_holding() {
                    owed.pay(shared, &mut carrier)?;
                }
            }
        }
    }
}

/// What a worker was handed, all of it for one epoch, and isn't done with, because it holds small
/// batches back.
struct Owed {
    purpose: Purpose,
    count: usize,
    /// The same, by source.
    of: BTreeMap<NodeId, usize>,
    since: Instant,
}

impl Default for Owed {
    fn default() -> Self {
        Self {
            purpose: Purpose::Filling,
            count: 0,
            of: BTreeMap::new(),
            since: Instant::now(),
        }
    }
}

impl Owed {
    fn pay(&mut self, shared: &Shared, carrier: &mut Carrier) -> Result<()> {
        carrier.flush()?;
        for (source, count) in std::mem::take(&mut self.of) {
            shared.queue.came_through(source, count);
        }
        shared
            .queue
            .done(self.purpose, std::mem::take(&mut self.count));
        Ok(())
    }
}

fn process(shared: &Shared, carrier: &mut Carrier, work: Work) -> Result<()> {
    let (node, port) = place(shared, &work.from)?;
    carrier.begin(node, work.mark);
    if let Some(rejected) = work.rejected {
        carrier.reject(node, rejected)?;
    }
    if let Some(port) = port {
        take(shared, carrier, node, port, work.rows)?;
    }
    let rejected = carrier.take_rejected();
    if let From::Stream(split, _) = work.from
        && rejected > 0
    {
        shared.queue.rejected(split, rejected);
    }
    Ok(())
}

fn take(
    shared: &Shared,
    carrier: &mut Carrier,
    node: NodeId,
    port: PortId,
    rows: Rows,
) -> Result<()> {
    let encoded = match rows {
        Rows::Batch(batch) => {
            let batches = vec![batch];
            let decoded = Decoded {
                batches,
                ..Decoded::default()
            };
            return pass(shared, carrier, node, port, decoded);
        }
        Rows::Encoded(encoded) => encoded,
    };
    let began = Instant::now();
    let mut passing = Duration::ZERO;
    let mut passed = Ok(());
    let decoded = guarded("a decoder", || {
        encoded.decode_into(&mut |decoded| {
            let began = Instant::now();
            passed = guarded("a worker", || pass(shared, carrier, node, port, decoded));
            passing += began.elapsed();
            match passed {
                Ok(()) => Ok(()),
                Err(_) => Err(Error::internal("decoded rows are not taken")),
            }
        })
    });
    // What comes of the rows isn't the decoder's fault.
    passed?;
    decoded.map_err(|error| error.with("component", shared.id(node)))?;
    shared.graph.nodes[node].stats.add_busy(began + passing);
    Ok(())
}

/// Gives what was decoded to all that read the port.
fn pass(
    shared: &Shared,
    carrier: &mut Carrier,
    node: NodeId,
    port: PortId,
    decoded: Decoded,
) -> Result<()> {
    let stats = &shared.graph.nodes[node].stats;
    carrier.reject(node, decoded.rejected)?;
    stats
        .ignored
        .add(Some(shared.id(node).as_str()), decoded.ignored);
    carrier.stand(decoded.places);
    for batch in &decoded.batches {
        stats.add_rows_out(batch.num_rows() as u64);
        carrier.deliver(port, batch)?;
        carrier.stand_behind(batch.num_rows());
    }
    carrier.stand(None);
    Ok(())
}

/// The component that rows come from, and the port they go to; none if nobody reads the stream.
fn place(shared: &Shared, from: &From) -> Result<(NodeId, Option<PortId>)> {
    match from {
        From::Stage(port, _) => Ok((shared.graph.maker(*port), Some(*port))),
        From::Stream(split, stream) => {
            let source = split.source;
            let mut streams = shared.graph.streams(source).iter();
            let open = streams
                .find(|open| open.stream.name == *stream)
                .ok_or_else(|| {
                    Error::internal("a source gave rows of a stream that it doesn't have")
                        .with("component", shared.id(source))
                        .with("stream", stream)
                })?;
            Ok((source, open.scan.is_some().then_some(open.port)))
        }
    }
}
