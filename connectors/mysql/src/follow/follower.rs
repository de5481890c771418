//! Reads the binary log, event by event, and says what happened to the tables.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use arrow_schema::SchemaRef;
use futures::{StreamExt, stream};
use tidegate_core::{Error, Event as Told, EventStream, Offset, Result, Scan, StreamName};

use super::bytes::Unfit;
use super::event::{Checksum, Event, Kind, Payload};
use super::feed::Feed;
use super::followed::{Around, Following};
use super::position::BinlogOffset;
use super::server::{self, Reach, purged, too_long};
use super::track::Placed;
use super::tracked::Tracked;
use super::transactions::Transactions;
use crate::discover::Table;
use crate::retry::Retries;

mod definition;
mod events;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod rows;
mod statements;
mod telling;

/// Follows the log from the noted position, or from after `resume`. `shown`: the schemas that the
/// streams have as the source is open now.
pub(crate) fn follow(
    around: Around,
    following: Following,
    scans: &[Scan],
    shown: &HashMap<StreamName, SchemaRef>,
    resume: Option<&Offset>,
) -> Result<EventStream> {
    let offset = match resume {
        Some(offset) => offset.decode()?,
        None => BinlogOffset::new(following.noted.position.clone()),
    };
    let mut follower = Follower::new(around, following, scans, offset)?;
    follower.announce_differences(shown)?;
    let events = stream::try_unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Ok(Some((event, follower)))
    });
    Ok(events.boxed())
}

struct Follower {
    around: Around,
    tables: Vec<Tracked>,
    /// Where a table is among `tables`, by database and name.
    by_name: HashMap<(String, String), usize>,
    /// What the numbers of maps mean; none: a table that isn't followed.
    ids: HashMap<u64, Option<usize>>,
    feed: Option<Feed>,
    retries: Retries,
    /// Whether the server that we are connected to is a MariaDB.
    mariadb: bool,
    transactions: Transactions,
    /// Tables of which changes wait, and how many bytes and rows these are.
    waiting: Vec<usize>,
    waiting_bytes: usize,
    waiting_rows: usize,
    last_told: Instant,
    out: VecDeque<Told>,
    /// What is told when all before was.
    failed: Option<Error>,
    /// A schema changed such that what is asked for isn't there any more: the next attempt asks anew.
    held: bool,
}

impl Follower {
    fn new(
        around: Around,
        following: Following,
        scans: &[Scan],
        offset: BinlogOffset,
    ) -> Result<Self> {
        let mut tables = Vec::new();
        let mut by_name = HashMap::new();
        for followed in following.tables {
            let changed = offset
                .changed
                .iter()
                .find(|table| table_name(table) == table_name(&followed.table));
            let scan = scans.iter().find(|scan| scan.stream == followed.stream);
            let table = changed.cloned().unwrap_or(followed.table);
            by_name.insert(table_name(&table), tables.len());
            let mut tracked = Tracked::new(followed.stream, followed.columns, table, scan.cloned());
            tracked.changed = changed.is_some();
            tracked.stale = offset.stale.contains(&tracked.table.name);
            tables.push(tracked);
        }
        Ok(Self {
            around,
            tables,
            by_name,
            ids: HashMap::new(),
            feed: None,
            retries: Retries::default(),
            mariadb: false,
            transactions: Transactions::new(offset)?,
            waiting: Vec::new(),
            waiting_bytes: 0,
            waiting_rows: 0,
            last_told: Instant::now(),
            out: VecDeque::new(),
            failed: None,
            held: false,
        })
    }

    async fn next(&mut self) -> Result<Told> {
        loop {
            if let Some(event) = self.out.pop_front() {
                return Ok(event);
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.held {
                std::future::pending::<()>().await;
            }
            let Some(feed) = &mut self.feed else {
                if let Err(error) = self.connect().await {
                    self.lose(error).await?;
                }
                continue;
            };
            let packet = match feed.ready() {
                Some(packet) => packet,
                None if !self.waiting.is_empty() => {
                    self.flush()?;
                    continue;
                }
                None => feed.next().await,
            };
            match packet {
                Ok(packet) => {
                    self.around.metrics.bytes(packet.len() as u64);
                    if let Err(error) = self.take(&packet).await {
                        self.flush()?;
                        self.failed = Some(error);
                    }
                }
                Err(error) => self.lose(error).await?,
            }
            self.tell_progress()?;
        }
    }

    async fn connect(&mut self) -> Result<()> {
        let (connector, id) = (&self.around.connector, self.around.server_id);
        let dump = server::dump(connector, self.transactions.resume(), id, Reach::Future).await?;
        self.mariadb = dump.connection.server().mariadb;
        self.transactions
            .connected(dump.position, dump.track, self.mariadb);
        self.ids.clear();
        self.feed = Some(Feed::new(dump.connection, dump.silence));
        Ok(())
    }

    /// The connection is gone: tells what was read, and begins anew from there.
    async fn lose(&mut self, error: Error) -> Result<()> {
        self.flush()?;
        self.feed = None;
        self.ids.clear();
        let Some(wait) = self.retries.after(&error, &self.around.metrics) else {
            self.failed = Some(purged(error));
            return Ok(());
        };
        self.transactions.lost();
        tracing::warn!(%error, wait = tidegate_core::Span(wait).rounded(), "reading the binary log again");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn take(&mut self, packet: &[u8]) -> Result<()> {
        let placed = self.transactions.track.take(packet);
        let Some(Placed { event, start }) = placed.map_err(|_| self.broken(None))? else {
            // It comes only when the server ends.
            let ended = Error::transient("the server ended the stream of its binary log");
            return self.lose(ended).await;
        };
        if event.is_real() {
            self.retries.gained();
        }
        if start < self.transactions.track.wanted {
            return Ok(());
        }
        if event.kind != Kind::TransactionPayload {
            return self.apply(&event, start).await;
        }
        let broken = |this: &Self| this.broken(Some(&event));
        let mut payload = Payload::parse(event.body).map_err(|_| broken(self))?;
        loop {
            let next = payload.next(self.most());
            let Some(next) = next.map_err(|unfit| self.unfit(unfit, &event))? else {
                return Ok(());
            };
            let inner = Event::parse(&next, Checksum::None).map_err(|_| broken(self))?;
            self.apply(&inner, start).await?;
        }
    }

    /// The most bytes of an event.
    fn most(&self) -> usize {
        self.around.connector.max_row()
    }

    /// An error that was met where we are.
    fn at(&self, error: Error) -> Error {
        self.transactions.met(error, self.transactions.track.at)
    }

    fn broken(&self, event: Option<&Event<'_>>) -> Error {
        let error = self.at(Error::data("an event of the binary log can't be read"));
        match event {
            Some(event) => error.with("event", event.number),
            None => error,
        }
        .hint(
            "if the server itself can read it (mysqlbinlog), this is a bug; --restart goes around",
        )
    }

    fn unfit(&self, unfit: Unfit, event: &Event<'_>) -> Error {
        match unfit {
            Unfit::Broken => self.broken(Some(event)),
            Unfit::Long(size) => self.at(too_long(size, self.most())),
        }
    }

    /// An error about one of the tables.
    fn unsupported(&self, at: usize, message: &str, hint: &str) -> Error {
        let error = self.at(Error::unsupported(message));
        match self.tables.get(at) {
            Some(tracked) => error.with("table", &tracked.table.name),
            None => error,
        }
        .hint(hint)
    }
}

fn table_name(table: &Table) -> (String, String) {
    (table.database.clone(), table.name.clone())
}
