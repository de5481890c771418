//! Reads the binary log, event by event, and says what happened to the tables.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Error, ErrorKind, Event as Told, EventStream, Metrics, Offset, Result, Scan, StreamName,
};

use super::ahead;
use super::bytes::Broken;
use super::event::{self, Change, Checksum, Event, Kind, MariaDbGtid, MySqlGtid, Query, RowsKind};
use super::feed::Feed;
use super::gtid::Gtids;
use super::image::{NO_TABLE, RowsBody};
use super::map::{self, TableMap};
use super::position::{self, Noted, Place};
use super::server::{self, Reach, purged};
use super::shape::{self, Shape};
use super::statement::{Statement, understand};
use super::track::{Placed, Track};
use super::tracked::{DELETE, INSERT, Said, Tracked, UPDATE};
use crate::connect::Connector;
use crate::discover::{self, Table};
use crate::types::Mapping;

/// How often the connection may be lost without an event in between.
const ATTEMPTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How often it is told that we have moved, when nothing concerns us.
const PROGRESS: Duration = Duration::from_secs(1);
/// The most changes that are told at once.
const MOST_ROWS: usize = 64 << 10;

/// What the split of the log holds: where it begins, and what is followed. Stored as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Following {
    pub(crate) noted: Noted,
    pub(crate) tables: Vec<Followed>,
}

/// A table that is followed, as it was when the position was noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Followed {
    pub(crate) stream: StreamName,
    pub(crate) table: Table,
    /// The columns that the user chose; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<Vec<String>>,
}

/// What reading needs beside the split.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    pub(crate) connector: Arc<Connector>,
    pub(crate) mapping: Mapping,
    /// Bytes of changes that are told at once.
    pub(crate) batch: usize,
    /// Our number among the server's replicas.
    pub(crate) server_id: u32,
    pub(crate) metrics: Arc<Metrics>,
}

/// Sees whether the tables were what they are taken for at the noted position: what was altered
/// before, the log wouldn't tell.
pub(crate) async fn check_tables(
    around: &Around,
    noted: &Noted,
    tables: &[Followed],
) -> Result<()> {
    let altered = |table: &str| {
        Error::transient("a table was altered while reading began").with("table", table)
    };
    let mut connection = around.connector.connect().await?;
    let mut databases: HashMap<&str, Vec<String>> = HashMap::new();
    for followed in tables {
        let names = databases.entry(&followed.table.database).or_default();
        names.push(followed.table.name.clone());
    }
    for (database, names) in databases {
        let now = discover::tables(&mut connection, database, &names, around.mapping).await?;
        for followed in tables.iter().filter(|one| one.table.database == database) {
            let now = now.iter().find(|table| table.name == followed.table.name);
            if now.is_none_or(|now| !same_definition(now, &followed.table)) {
                return Err(altered(&followed.table.name));
            }
        }
    }
    let place = Place::new(noted.position.clone());
    let tables: Vec<_> = tables.iter().map(|followed| &followed.table).collect();
    match ahead::altered(&around.connector, &place, &tables).await? {
        Some(at) => Err(altered(&tables[at].name)),
        None => Ok(()),
    }
}

fn same_definition(one: &Table, other: &Table) -> bool {
    one.columns == other.columns && one.key == other.key
}

/// Follows the log from the noted position, or from after `resume`. `shown`: the schemas that the
/// streams have as the source is open now.
pub(crate) fn follow(
    around: Around,
    following: Following,
    scans: &[Scan],
    shown: &HashMap<StreamName, arrow_schema::SchemaRef>,
    resume: Option<&Offset>,
) -> Result<EventStream> {
    let place = match resume {
        Some(offset) => offset.decode()?,
        None => Place::new(following.noted.position.clone()),
    };
    let mut follower = Follower::new(around, following, scans, place)?;
    follower.announce_differences(shown)?;
    let events = stream::try_unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Ok(Some((event, follower)))
    });
    Ok(events.boxed())
}

/// The transaction that we are in.
#[derive(Debug)]
struct Transaction {
    /// Where it begins in its file.
    start: u64,
    /// It has an end of its own; otherwise it is one statement.
    begun: bool,
    /// When it was committed, in microseconds since 1970, if that was told.
    committed: Option<i64>,
    id: Option<Id>,
    /// It is a distributed one: its rows may still be rolled back.
    distributed: bool,
    /// How many changes of followed tables there were, those that were told before included.
    changes: u64,
}

/// The id of a transaction.
#[derive(Debug, Clone, Copy)]
enum Id {
    MariaDb {
        domain: u32,
        server: u32,
        sequence: u64,
    },
    MySql {
        source: [u8; 16],
        number: u64,
    },
    /// One that we don't understand.
    Tagged,
}

struct Follower {
    around: Around,
    tables: Vec<Tracked>,
    /// Where a table is among `tables`, by database and name.
    by_name: HashMap<(String, String), usize>,
    /// What the numbers of maps mean; none: a table that isn't followed.
    ids: HashMap<u64, Option<usize>>,
    feed: Option<Feed>,
    lost: u32,
    track: Track,
    /// Whether the server that we are connected to is a MariaDB.
    mariadb: bool,
    /// The end of the last transaction, and its file's number.
    place: Place,
    file: u64,
    gtids: Option<Gtids>,
    transaction: Option<Transaction>,
    /// So many changes of the next transaction were told before.
    told: u64,
    /// Tables of which changes wait, and how many bytes and rows these are.
    waiting: Vec<usize>,
    waiting_bytes: usize,
    waiting_rows: usize,
    /// The place has moved since it was told, and when that was.
    moved: bool,
    last_told: Instant,
    out: VecDeque<Told>,
    /// What is told when all before was.
    failed: Option<Error>,
    /// A schema changed such that what is asked for isn't there any more: the next attempt asks anew.
    held: bool,
}

impl Follower {
    fn new(around: Around, following: Following, scans: &[Scan], place: Place) -> Result<Self> {
        let mut tables = Vec::new();
        let mut by_name = HashMap::new();
        for followed in following.tables {
            let changed = place
                .changed
                .iter()
                .find(|table| table_name(table) == table_name(&followed.table));
            let scan = scans.iter().find(|scan| scan.stream == followed.stream);
            let table = changed.cloned().unwrap_or(followed.table);
            by_name.insert(table_name(&table), tables.len());
            let mut tracked = Tracked::new(followed.stream, followed.columns, table, scan.cloned());
            tracked.changed = changed.is_some();
            tracked.stale = place.stale.contains(&tracked.table.name);
            tables.push(tracked);
        }
        Ok(Self {
            around,
            tables,
            by_name,
            ids: HashMap::new(),
            feed: None,
            lost: 0,
            track: Track::new(&place.position.file, place.position.byte),
            mariadb: false,
            file: position::file_number(&place.position.file)?,
            gtids: None,
            told: place.changes,
            place,
            transaction: None,
            waiting: Vec::new(),
            waiting_bytes: 0,
            waiting_rows: 0,
            moved: false,
            last_told: Instant::now(),
            out: VecDeque::new(),
            failed: None,
            held: false,
        })
    }

    /// The tables may have been altered since they were last told of: then the streams are open with
    /// schemas that hold only further on, and what comes first has the one of before.
    fn announce_differences(
        &mut self,
        shown: &HashMap<StreamName, arrow_schema::SchemaRef>,
    ) -> Result<()> {
        for at in 0..self.tables.len() {
            let tracked = &self.tables[at];
            if tracked.changed || tracked.scan.is_none() {
                continue;
            }
            let schema = tracked.schema(&tracked.table, self.around.mapping)?;
            if shown.get(&tracked.stream).is_some_and(|now| *now != schema) {
                self.announce(at, schema)?;
            }
        }
        Ok(())
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
        let dump = server::dump(connector, &self.place, id, Reach::Future).await?;
        self.mariadb = dump.connection.server().mariadb;
        self.gtids = match &dump.position.gtids {
            Some(gtids) => Gtids::parse(gtids, self.mariadb).ok(),
            // MariaDB always has them; there was just no transaction yet.
            None if self.mariadb => Gtids::parse("", true).ok(),
            None => None,
        };
        self.place.position = dump.position;
        self.track = dump.track;
        self.ids.clear();
        self.feed = Some(Feed::new(dump.connection, dump.silence));
        Ok(())
    }

    /// The connection is gone: tells what was read, and begins anew from there.
    async fn lose(&mut self, error: Error) -> Result<()> {
        self.flush()?;
        self.feed = None;
        self.ids.clear();
        if error.kind() != ErrorKind::Transient || self.lost >= ATTEMPTS {
            self.failed = Some(purged(error));
            return Ok(());
        }
        if let Some(transaction) = self.transaction.take() {
            self.told = self.told.max(transaction.changes);
        }
        self.place = self.transactions();
        self.place.changes = self.told;
        let wait = FIRST_WAIT
            .saturating_mul(1 << self.lost.min(16))
            .min(LONGEST_WAIT);
        self.lost += 1;
        self.around.metrics.retries(1);
        tracing::warn!(%error, wait_s = wait.as_secs_f64(), "reading the binary log again");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// The end of the last transaction, with the ids of all before.
    fn transactions(&self) -> Place {
        let mut place = self.place.clone();
        if let Some(gtids) = &self.gtids {
            place.position.gtids = Some(gtids.to_string()).filter(|text| !text.is_empty());
        }
        place
    }

    /// Where we are, for a resume right after what was told so far.
    fn offset(&self) -> Result<Offset> {
        let mut place = self.transactions();
        let changes = self.transaction.as_ref().map_or(0, |one| one.changes);
        place.changes = changes.max(self.told);
        place.changed = self
            .tables
            .iter()
            .filter(|tracked| tracked.changed)
            .map(|tracked| tracked.table.clone())
            .collect();
        place.stale = self
            .tables
            .iter()
            .filter(|tracked| tracked.stale)
            .map(|tracked| tracked.table.name.clone())
            .collect();
        Offset::encode(&place)
    }

    /// Tells the changes that wait. Only behind the last of the tables there is a place to go on
    /// from.
    fn flush(&mut self) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting).into_iter().peekable();
        (self.waiting_bytes, self.waiting_rows) = (0, 0);
        while let Some(at) = waiting.next() {
            let resume = match waiting.peek() {
                None => Some(self.offset()?),
                Some(_) => None,
            };
            let tracked = &mut self.tables[at];
            if let Some(rows) = tracked.take() {
                self.out.push_back(Told::Rows {
                    stream: tracked.stream.clone(),
                    rows,
                    rejected: None,
                    resume,
                });
                self.moved = false;
                self.last_told = Instant::now();
            }
        }
        Ok(())
    }

    fn tell_progress(&mut self) -> Result<()> {
        if self.moved
            && self.waiting.is_empty()
            && self.out.is_empty()
            && self.transaction.is_none()
            && self.last_told.elapsed() >= PROGRESS
        {
            self.out.push_back(Told::Progress(self.offset()?));
            self.moved = false;
            self.last_told = Instant::now();
        }
        Ok(())
    }

    async fn take(&mut self, packet: &[u8]) -> Result<()> {
        let Some(Placed { event, start }) =
            self.track.take(packet).map_err(|_| self.broken(None))?
        else {
            // It comes only when the server ends.
            let ended = Error::transient("the server ended the stream of its binary log");
            return self.lose(ended).await;
        };
        if event.is_real() {
            self.lost = 0;
        }
        if start < self.track.wanted {
            return Ok(());
        }
        if event.kind != Kind::TransactionPayload {
            return self.apply(&event, start).await;
        }
        let events = event::unpack(event.body).map_err(|_| self.broken(Some(&event)))?;
        let mut rest = events.as_slice();
        while !rest.is_empty() {
            let (first, behind) = event::first_of(rest).map_err(|_| self.broken(Some(&event)))?;
            rest = behind;
            let inner =
                Event::parse(first, Checksum::None).map_err(|_| self.broken(Some(&event)))?;
            self.apply(&inner, start).await?;
        }
        Ok(())
    }

    fn broken(&self, event: Option<&Event<'_>>) -> Error {
        let error = Error::data("an event of the binary log can't be read")
            .with("file", &self.place.position.file)
            .with("position", self.track.at);
        match event {
            Some(event) => error.with("event", event.number),
            None => error,
        }
        .hint(
            "if the server itself can read it (mysqlbinlog), this is a bug; --restart goes around",
        )
    }

    async fn apply(&mut self, event: &Event<'_>, start: u64) -> Result<()> {
        let or_broken = |this: &Self| this.broken(Some(event));
        match event.kind {
            Kind::Rotate => self.rotated()?,
            Kind::MariaDbGtid => {
                let gtid = MariaDbGtid::parse(event.body).map_err(|_| or_broken(self))?;
                let id = Id::MariaDb {
                    domain: gtid.domain,
                    server: event.server_id,
                    sequence: gtid.sequence,
                };
                let transaction = self.begin(start, Some(id), None)?;
                transaction.begun = !gtid.standalone;
                transaction.distributed = gtid.prepared;
            }
            Kind::MySqlGtid => {
                let gtid = MySqlGtid::parse(event.body).map_err(|_| or_broken(self))?;
                let id = Id::MySql {
                    source: gtid.source,
                    number: gtid.number,
                };
                let committed = gtid.committed.and_then(|micros| i64::try_from(micros).ok());
                self.begin(start, Some(id), committed)?;
            }
            Kind::AnonymousGtid => {
                let gtid = MySqlGtid::parse(event.body).map_err(|_| or_broken(self))?;
                let committed = gtid.committed.and_then(|micros| i64::try_from(micros).ok());
                self.begin(start, None, committed)?;
            }
            Kind::MySqlTaggedGtid => {
                self.begin(start, Some(Id::Tagged), None)?;
            }
            Kind::Query { compressed } => {
                let query = Query::parse(event.body, compressed).map_err(|_| or_broken(self))?;
                self.statement(&query, start)?;
            }
            Kind::Xid | Kind::XaPrepare => self.end(),
            Kind::TableMap => self.map(event).await?,
            Kind::Rows(kind) => self.rows(kind, event)?,
            Kind::PartialUpdate => {
                let id = map::id(event.body).map_err(|_| or_broken(self))?;
                if let Some(at) = self.ids.get(&id).copied().flatten() {
                    return Err(self.unsupported(
                        at,
                        "an update of JSON holds only differences",
                        "set binlog_row_value_options = '' at the server, and start over with \
                         --restart",
                    ));
                }
            }
            Kind::Incident => {
                return Err(
                    Error::data("the server says that its binary log lacks events")
                        .with("file", &self.place.position.file)
                        .with("position", start)
                        .hint("start over with --restart"),
                );
            }
            Kind::TransactionPayload => return Err(or_broken(self)),
            Kind::Unknown if !event.is_ignorable() => {
                return Err(
                    Error::unsupported("an event of an unknown kind is in the binary log")
                        .with("event", event.number)
                        .with("file", &self.place.position.file)
                        .with("position", start)
                        .hint("it may hold rows, so it isn't passed over; please tell us"),
                );
            }
            Kind::Unknown
            | Kind::Nothing
            | Kind::Heartbeat
            | Kind::Stop
            | Kind::FormatDescription => {}
        }
        Ok(())
    }

    /// An error about one of the tables.
    fn unsupported(&self, at: usize, message: &str, hint: &str) -> Error {
        let error = Error::unsupported(message)
            .with("file", &self.place.position.file)
            .with("position", self.track.at);
        match self.tables.get(at) {
            Some(tracked) => error.with("table", &tracked.table.name),
            None => error,
        }
        .hint(hint)
    }

    fn rotated(&mut self) -> Result<()> {
        self.unfinished()?;
        self.ids.clear();
        if self.track.file != self.place.position.file {
            self.file = position::file_number(&self.track.file)?;
            self.place.position.file.clone_from(&self.track.file);
            self.place.position.byte = self.track.at;
            self.moved = true;
        }
        Ok(())
    }

    /// A transaction without an end, which a crash of the server left in the log.
    fn unfinished(&mut self) -> Result<()> {
        match self.transaction.take() {
            Some(transaction) if transaction.changes > 0 => Err(Error::conflict(
                "a transaction has no end in the binary log, so its changes were not made",
            )
            .with("file", &self.place.position.file)
            .with("position", transaction.start)
            .hint("some of them were already told; start over with --restart")),
            _ => Ok(()),
        }
    }

    fn begin(
        &mut self,
        start: u64,
        id: Option<Id>,
        committed: Option<i64>,
    ) -> Result<&mut Transaction> {
        self.unfinished()?;
        Ok(self.transaction.insert(Transaction {
            start,
            begun: false,
            committed,
            id,
            distributed: false,
            changes: 0,
        }))
    }

    fn end(&mut self) {
        self.place.position.byte = self.track.at;
        self.told = 0;
        self.moved = true;
        let id = self
            .transaction
            .take()
            .and_then(|transaction| transaction.id);
        match (id, &mut self.gtids) {
            (
                Some(Id::MariaDb {
                    domain,
                    server,
                    sequence,
                }),
                Some(gtids),
            ) => gtids.add_mariadb(domain, server, sequence),
            (Some(Id::MySql { source, number }), Some(gtids)) => gtids.add_mysql(source, number),
            (Some(Id::Tagged), _) => {
                self.gtids = None;
                self.place.position.gtids = None;
            }
            _ => {}
        }
    }

    fn statement(&mut self, query: &Query, start: u64) -> Result<()> {
        let names: Vec<_> = self
            .tables
            .iter()
            .map(|tracked| (tracked.table.database.as_str(), tracked.table.name.as_str()))
            .collect();
        let statement = understand(&query.text, &query.database, &names);
        if self.transaction.is_none() {
            // Servers of before MySQL 5.6 have no event in front.
            self.begin(start, None, None)?;
        }
        match statement {
            Statement::Begin | Statement::XaStart => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.begun = true;
                    transaction.distributed |= statement == Statement::XaStart;
                }
                return Ok(());
            }
            Statement::Commit | Statement::XaEnd => {
                self.end();
                return Ok(());
            }
            Statement::Rollback => {
                let changes = self.transaction.as_ref().map_or(0, |one| one.changes);
                if changes > 0 {
                    return Err(Error::unsupported(
                        "a transaction with tables of several engines was rolled back",
                    )
                    .with("file", &self.place.position.file)
                    .with("position", start)
                    .hint(
                        "which of its changes were made can't be known; start over with \
                         --restart, and keep tables without transactions out of transactions",
                    ));
                }
                self.end();
                return Ok(());
            }
            Statement::Alters(at) => {
                if let Some(tracked) = self.tables.get_mut(at) {
                    tracked.stale = true;
                }
            }
            Statement::Removes(at, what) => {
                return Err(self.unsupported(
                    at,
                    &format!("a followed table lost rows that the binary log doesn't name: {what}"),
                    "start over with --restart, or leave the table out by `tables`",
                ));
            }
            Statement::Writes(at) => {
                return Err(self.unsupported(
                    at,
                    "a followed table was written in statements, which tell no rows",
                    "a session used binlog_format = STATEMENT or MIXED; forbid it, and start over \
                     with --restart",
                ));
            }
            Statement::WritesElsewhere => {
                tracing::debug!(statement = query.text, "rows written in a statement");
            }
            Statement::Other => {}
        }
        if self.transaction.as_ref().is_none_or(|one| !one.begun) {
            self.end();
        }
        Ok(())
    }

    async fn map(&mut self, event: &Event<'_>) -> Result<()> {
        let broken = |this: &Self| this.broken(Some(event));
        let id = map::id(event.body).map_err(|_| broken(self))?;
        let (database, table) = map::names(event.body).map_err(|_| broken(self))?;
        let at = self
            .by_name
            .get(&(database.to_owned(), table.to_owned()))
            .copied();
        self.ids.insert(id, at);
        let Some(at) = at else { return Ok(()) };
        let substance = map::substance(event.body).map_err(|_| broken(self))?;
        let tracked = &self.tables[at];
        if !tracked.stale
            && tracked
                .known
                .as_ref()
                .is_some_and(|(known, _)| known == substance)
        {
            return Ok(());
        }
        let map = TableMap::parse(event.body, self.mariadb).map_err(|_| broken(self))?;
        let resolved = self.resolve(at, &map).await;
        let (table, fit) = resolved.map_err(|error| {
            error
                .with("table", &map.table)
                .with("file", &self.place.position.file)
                .with("position", self.track.at)
        })?;
        // What waits was read by the definition of before.
        self.flush()?;
        let tracked = &mut self.tables[at];
        tracked.stale = false;
        let mapping = self.around.mapping;
        let schema = tracked.schema(&table, mapping)?;
        let before = tracked.schema(&tracked.table, mapping)?;
        if !same_definition(&table, &tracked.table) {
            tracked.table = table;
            tracked.changed = true;
        }
        if schema != before {
            self.announce(at, schema)?;
            if self.held {
                return Ok(());
            }
        }
        let tracked = &mut self.tables[at];
        let shown = tracked.shown(&tracked.table);
        let shape = Shape::new(&tracked.table, fit, &shown, tracked.scan.as_ref(), mapping)?;
        tracked.known = Some((substance.to_vec(), Arc::new(shape)));
        Ok(())
    }

    /// From here on, the stream has this schema.
    fn announce(&mut self, at: usize, schema: arrow_schema::SchemaRef) -> Result<()> {
        self.tables[at].changed = true;
        let resume = self.offset()?;
        let tracked = &self.tables[at];
        let Some(scan) = &tracked.scan else {
            return Ok(());
        };
        self.held |= scan.indices(&schema).is_err();
        self.out.push_back(Told::Schema {
            stream: tracked.stream.clone(),
            schema,
            resume,
        });
        Ok(())
    }

    /// Finds the definition that a map belongs to.
    async fn resolve(&mut self, at: usize, map: &TableMap) -> Result<(Table, shape::Fit)> {
        let known = self.tables[at].table.clone();
        let stale = self.tables[at].stale;
        // Without names in the map, the definition of before may fit one with other names.
        if (map.is_full() || !stale)
            && let Some(fit) = shape::fit(&known, map)?
        {
            return Ok((known, fit));
        }
        let now = discover(self.around.clone(), known.clone()).await?;
        if let Some(now) = &now
            && let Some(fit) = shape::fit(now, map)?
            && (map.is_full() || !altered(self.around.clone(), self.transactions(), now).await?)
        {
            return Ok((now.clone(), fit));
        }
        if map.is_full() {
            let mut others = vec![&known];
            others.extend(&now);
            let table = shape::compose(map, &others)?;
            if let Some(fit) = shape::fit(&table, map)? {
                return Ok((table, fit));
            }
            return Err(Error::internal("a definition made of a map doesn't fit it"));
        }
        Err(Error::schema(
            "a table was altered, and the binary log doesn't say how its rows are made",
        )
        .hint(
            "start over with --restart; with binlog_row_metadata = FULL at the server, the \
                     log says it from then on",
        ))
    }

    fn rows(&mut self, kind: RowsKind, event: &Event<'_>) -> Result<()> {
        let broken = |this: &Self| this.broken(Some(event));
        let id = map::id(event.body).map_err(|_| broken(self))?;
        if id == NO_TABLE && !self.ids.contains_key(&id) {
            return Ok(());
        }
        let Some(at) = *self.ids.get(&id).ok_or_else(|| broken(self))? else {
            return Ok(());
        };
        let shape = self.tables[at].known.as_ref();
        let Some(shape) = shape.map(|(_, shape)| Arc::clone(shape)) else {
            // Held: nobody takes these.
            return Ok(());
        };
        if self.transaction.as_ref().is_some_and(|one| one.distributed) {
            return Err(self.unsupported(
                at,
                "a followed table was written in a distributed (XA) transaction",
                "whether it is committed is known only later, which can't be followed; leave the \
                 table out by `tables`, and start over with --restart",
            ));
        }
        let body = RowsBody::parse(kind, event.body).map_err(|_| broken(self))?;
        if !body.whole {
            return Err(self.unsupported(
                at,
                "an image of a row lacks columns",
                "a session used another binlog_row_image than FULL; forbid it, and start over \
                 with --restart",
            ));
        }
        let time = self.transaction.as_ref().and_then(|one| one.committed);
        let time = time.unwrap_or_else(|| i64::from(event.time) * 1_000_000);
        let mut images = body.images(&shape.layout).map_err(|_| broken(self))?;
        while let Some(image) = images.next() {
            let image = image.map_err(|_| broken(self))?;
            let pushed = match kind.change {
                Change::Insert => self.push(at, &shape, image, INSERT, time),
                Change::Delete => self.push(at, &shape, image, DELETE, time),
                Change::Update => {
                    let after = images.next().ok_or_else(|| broken(self))?;
                    let after = after.map_err(|_| broken(self))?;
                    let same = shape.layout.same_key(image, after);
                    match same.map_err(|_| broken(self))? {
                        true => self.push(at, &shape, after, UPDATE, time),
                        // A row under another key is another row.
                        false => self
                            .push(at, &shape, image, DELETE, time)
                            .and_then(|()| self.push(at, &shape, after, INSERT, time)),
                    }
                }
            };
            pushed.map_err(|_| broken(self))?;
            if self.waiting_bytes >= self.around.batch || self.waiting_rows >= MOST_ROWS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        at: usize,
        shape: &Arc<Shape>,
        image: super::image::Image<'_>,
        op: &'static str,
        time: i64,
    ) -> Result<(), Broken> {
        let transaction = self.transaction.as_mut().ok_or(Broken)?;
        transaction.changes += 1;
        if transaction.changes <= self.told {
            return Ok(());
        }
        let generation = self.place.position.generation;
        let position = position::text(
            generation,
            self.file,
            transaction.start,
            transaction.changes,
        );
        let tracked = &mut self.tables[at];
        let before = tracked.waiting();
        let said = Said {
            op,
            time,
            position: &position,
        };
        self.waiting_bytes += tracked.push(shape, image, said)?;
        if tracked.waiting() > before {
            self.waiting_rows += 1;
            if before == 0 {
                self.waiting.push(at);
            }
        }
        Ok(())
    }
}

fn table_name(table: &Table) -> (String, String) {
    (table.database.clone(), table.name.clone())
}

/// Whether a definition that was just read may be that of rows still to come, and not of those
/// behind `place`.
async fn altered(around: Around, place: Place, now: &Table) -> Result<bool> {
    let altered = ahead::altered(&around.connector, &place, &[now]).await?;
    Ok(altered.is_some())
}

/// The table's definition as it is now; none if there is no such table any more.
async fn discover(around: Around, known: Table) -> Result<Option<Table>> {
    let mut connection = around.connector.connect().await?;
    let names = [known.name];
    let found = discover::tables(&mut connection, &known.database, &names, around.mapping).await;
    match found {
        Ok(tables) => Ok(tables.into_iter().find(|table| table.name == names[0])),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
