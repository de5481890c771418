//! The reading of a shard: page by page, at the pace that its limits allow.

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use aws_sdk_kinesis::types::Record;
use futures::StreamExt;
use tidegate_core::{Error, Event, EventStream, Metrics, Result, Rows, StreamName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::aggregate;
use crate::api::{Api, Failed, Fetched, From, Pushed, millis, pause};
use crate::config::{LEAST_POLL, OnLoss};
use crate::decode::{Encoded, Piece};
use crate::plan::{Begin, Part};
use crate::position::{Position, now};

/// GetRecords: up to 10 MiB, in KiB
/// ([limits](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html)). Base64
/// and what a record has beside its data are on top while an answer is taken apart.
pub(crate) const PAGE_KIB: u32 = 10 << 10;

/// A shard gives 2 MB a second; who has read more than that is refused for as long as it was more.
const SHARD_RATE: f64 = 2e6;

/// The bytes of an event from which on the next one begins.
const EVENT: usize = 1 << 20;

/// An aggregated record from this size on is cut into events by itself.
const LARGE: usize = 256 << 10;

/// A request that fails is retried so often before the attempt ends.
const TRIES: u32 = 8;

/// After so many refusals for too many requests it is worth a warning.
const MANY: u32 = 20;

/// How often an idle shard's position is renewed, and how often one that is behind is logged.
const MINUTE: Duration = Duration::from_secs(60);

/// What is said of a shard that is gone.
pub(crate) const EXPIRED: &str = "the shard has expired before it was read to its end";

/// What the readings of all shards share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) retention: Duration,
    pub(crate) on_loss: OnLoss,
    pub(crate) poll: Duration,
    /// The consumer to which Kinesis pushes; `None`: it is asked.
    pub(crate) consumer: Option<String>,
    pub(crate) metrics: Arc<Metrics>,
    /// KiB that pages may take which are fetched and not handed out yet.
    pub(crate) room: Arc<Semaphore>,
}

impl Shared {
    async fn feed(&self, shard: &str, from: From<'_>) -> Result<Feed, Failed> {
        self.metrics.requests(1);
        match &self.consumer {
            None => self.api.iterator(shard, from).await.map(Feed::Iterator),
            Some(consumer) => {
                let pushed = self.api.subscribe(consumer, shard, from).await?;
                Ok(Feed::Pushed(Box::new(pushed)))
            }
        }
    }

    /// Says that records may be lost, as the user wishes: an error, or a warning.
    pub(crate) fn lost(&self, shard: &str, what: &str) -> Result<()> {
        match self.on_loss {
            OnLoss::Fail => Err(Error::data(format!(
                "records may have expired before they were read: {what}"
            ))
            .with("stream", self.api.stream())
            .with("shard", shard)
            .hint("to go on with what is left, set `on_loss = \"warn\"`; a longer retention period of the stream leaves more time")),
            OnLoss::Warn => {
                tracing::warn!(
                    stream = self.api.stream(),
                    shard,
                    "records may have expired before they were read: {what}"
                );
                Ok(())
            }
        }
    }
}

/// Where a shard's pages come from.
enum Feed {
    /// Nowhere yet.
    Closed,
    /// They are asked for.
    Iterator(String),
    /// They come by themselves.
    Pushed(Box<Pushed>),
}

/// A shard that is read.
struct Reader {
    shared: Arc<Shared>,
    part: Part,
    shard: Arc<str>,
    stream: StreamName,
    schema: SchemaRef,
    position: Option<Position>,
    /// Where the next page comes from.
    feed: Feed,
    /// Whether the page's first record shows if something was lost.
    doubtful: bool,
    /// The record with which the page begins was read already, as far as the position says.
    overlaps: bool,
    /// When the next request may be made.
    due: Instant,
    /// Failures in a row, and refusals for too many requests.
    failures: u32,
    throttled: u32,
    renewed: Option<Instant>,
    logged: Option<Instant>,
    ended: bool,
}

/// The events of a page; the room that it takes is given back with its last one.
struct Page {
    events: Vec<Event>,
    room: OwnedSemaphorePermit,
}

/// Reads a shard from its beginning or a position.
pub(crate) fn read(
    shared: &Arc<Shared>,
    part: Part,
    schema: SchemaRef,
    stream: &StreamName,
    resume: Option<Position>,
) -> EventStream {
    let position = match (&resume, &part.begin) {
        (None, Begin::After(position)) => Some(position.clone()),
        (None, Begin::Since { at, .. }) => Some(Position {
            at: *at,
            ..Position::default()
        }),
        _ => resume,
    };
    let reader = Reader {
        shared: Arc::clone(shared),
        shard: part.shard.as_str().into(),
        ended: position.as_ref().is_some_and(|position| position.end),
        part,
        stream: stream.clone(),
        schema,
        position,
        feed: Feed::Closed,
        doubtful: false,
        overlaps: false,
        due: Instant::now(),
        failures: 0,
        throttled: 0,
        renewed: None,
        logged: None,
    };
    let pages = futures::stream::try_unfold(reader, |mut reader| async move {
        match reader.ended {
            true => Ok(None),
            false => reader.page().await.map(|page| Some((page, reader))),
        }
    });
    pages.map(flat).flatten().boxed()
}

fn flat(page: Result<Page>) -> impl futures::Stream<Item = Result<Event>> {
    let (events, room, error) = match page {
        Ok(Page { events, room }) => (events, Some(room), None),
        Err(error) => (Vec::new(), None, Some(error)),
    };
    let events = events.into_iter().map(Ok).chain(error.map(Err));
    futures::stream::iter(events.inspect(move |_| {
        // Held as long as the iterator is.
        let _ = &room;
    }))
}

impl Reader {
    /// The next page's events, at the time that is due; none if there was nothing.
    async fn page(&mut self) -> Result<Page> {
        sleep_until(self.due).await;
        let room = match self.shared.consumer {
            None => Some(self.room().await?),
            // It waits for what comes, and mustn't keep others waiting.
            Some(_) => None,
        };
        if matches!(self.feed, Feed::Closed) && !self.open().await? {
            let events = self.end()?;
            return self.given(events, room).await;
        }
        let begun = Instant::now();
        let fetched = match std::mem::replace(&mut self.feed, Feed::Closed) {
            Feed::Iterator(iterator) => {
                self.shared.metrics.requests(1);
                let fetched = self.shared.api.records(&iterator).await;
                // It is good for another try.
                self.feed = Feed::Iterator(iterator);
                fetched.map(Some)
            }
            Feed::Pushed(mut pushed) => {
                let fetched = pushed.next().await;
                if matches!(fetched, Ok(Some(_))) {
                    self.feed = Feed::Pushed(pushed);
                }
                fetched
            }
            Feed::Closed => Ok(None),
        };
        let events = match fetched {
            Ok(Some(page)) => {
                (self.throttled, self.failures) = (0, 0);
                self.take(page, begun)?
            }
            Ok(None) => {
                self.due = self.due.max(Instant::now() + LEAST_POLL);
                Vec::new()
            }
            Err(failed) => self.failed(failed).await?,
        };
        self.given(events, room).await
    }

    /// A page of these events, with room for them.
    async fn given(&self, events: Vec<Event>, room: Option<OwnedSemaphorePermit>) -> Result<Page> {
        let bytes = events.iter().map(|event| match event {
            Event::Rows { rows, .. } => rows.size(),
            _ => 0,
        });
        let kib = (bytes.sum::<usize>() >> 10) + 1;
        let room = match room {
            Some(room) => room,
            None => self.room().await?,
        };
        Ok(Page {
            events,
            room: less(room, kib),
        })
    }

    /// Waits until there is room for a page.
    async fn room(&self) -> Result<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.shared.room);
        let room = room.acquire_many_owned(PAGE_KIB).await;
        room.map_err(|error| {
            Error::internal("a shard is read after its source was closed").because(error)
        })
    }

    /// Finds the position; `false` if the shard has expired.
    async fn open(&mut self) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let position = self.position.as_ref();
        let sequence = position.and_then(|position| position.sequence.as_deref());
        // What was read long ago is asked for again: if it is there, so is all that came after it.
        let old = position.is_some_and(|position| position.age() > shared.retention / 2);
        let cut = position.is_some_and(|position| position.sub.is_some());
        let from = match (sequence, &self.part.begin) {
            (Some(sequence), _) if old || cut => From::At(sequence),
            (Some(sequence), _) => From::After(sequence),
            (None, Begin::Latest(time) | Begin::Time(time) | Begin::Since { time, .. }) => {
                From::Time(*time)
            }
            (None, Begin::TrimHorizon | Begin::After(_)) => From::TrimHorizon,
        };
        let expired = position.is_some_and(|position| position.age() > shared.retention);
        (self.overlaps, self.doubtful) = (matches!(from, From::At(_)), false);
        let opened = match (shared.feed(&self.shard, from).await, from) {
            // By the server's clock that time hasn't come.
            (Err(Failed::Refused(_)), From::Time(_))
                if matches!(self.part.begin, Begin::Latest(_)) =>
            {
                shared.feed(&self.shard, From::Latest).await
            }
            (opened, _) => opened,
        };
        match opened {
            Ok(feed) => {
                match (self.overlaps, expired) {
                    (true, true) => self.doubtful = true,
                    // Nothing was there to be compared with.
                    (false, true) => {
                        self.shared.lost(
                            &self.shard,
                            "the shard was read last longer ago than the stream keeps records",
                        )?;
                    }
                    _ => {}
                }
                self.feed = feed;
                Ok(true)
            }
            Err(Failed::Gone(error)) => self.gone(error).await.map(|()| false),
            Err(Failed::Refused(error)) if sequence.is_some() => Err(Error::conflict(
                "the stream doesn't know the position from which it is to be read on",
            )
            .with("stream", shared.api.stream())
            .with("shard", &self.shard)
            .hint("if the stream was made anew, run with --restart")
            .because(error)),
            Err(failed) => self.failed(failed).await.map(|_| true),
        }
    }

    fn told(&self, failed: Failed) -> Error {
        let error = failed.into_error();
        error
            .with("stream", self.shared.api.stream())
            .with("shard", &self.shard)
    }

    /// The shard isn't there any more, or the whole stream.
    async fn gone(&self, error: Error) -> Result<()> {
        self.shared.api.about().await?;
        let shards = self.shared.api.shards().await?;
        if shards.iter().any(|shard| shard.shard_id == *self.shard) {
            // It is listed, so it will be found again.
            return Err(Error::transient("a shard could not be found").because(error));
        }
        self.shared.lost(&self.shard, EXPIRED)
    }

    /// Decides what is done after a failure.
    async fn failed(&mut self, failed: Failed) -> Result<Vec<Event>> {
        match failed {
            // Reopened at the position.
            Failed::Expired => {
                self.feed = Feed::Closed;
                self.failures += 1;
                if self.failures >= TRIES {
                    return Err(self.told(Failed::Expired));
                }
            }
            Failed::Gone(error) => {
                self.gone(error).await?;
                return self.end();
            }
            // Others read the same shard, or we have read too much of it at once. That continues for
            // as long as they do.
            Failed::Throttled(error) => {
                self.throttled += 1;
                if self.throttled.is_multiple_of(MANY) {
                    tracing::warn!(shard = &*self.shard, tries = self.throttled, %error, "a shard can't be read: others take all that it gives");
                }
            }
            Failed::Passing(error) => {
                self.failures += 1;
                if self.failures >= TRIES {
                    return Err(self.told(Failed::Passing(error)));
                }
            }
            other => return Err(self.told(other)),
        }
        let pause = pause(self.throttled.max(self.failures));
        self.shared.metrics.retries(1);
        self.shared
            .metrics
            .waited_ms(pause.as_millis().try_into().unwrap_or(0));
        self.due = Instant::now() + pause;
        Ok(Vec::new())
    }

    /// The last event of a shard that is closed.
    fn end(&mut self) -> Result<Vec<Event>> {
        self.ended = true;
        let position = self.position.get_or_insert_default();
        (position.at, position.end) = (now(), true);
        Ok(vec![Event::Progress(position.offset()?)])
    }

    /// Makes events of a page, and sees when the next one is due.
    fn take(&mut self, page: Fetched, begun: Instant) -> Result<Vec<Event>> {
        let mut records = page.records;
        let bytes = records.iter().map(|record| record.data.as_ref().len());
        let bytes: usize = bytes.sum();
        self.shared.metrics.bytes(bytes.try_into().unwrap_or(0));
        let Fetched { closed, behind, .. } = page;
        let at_tip = behind == 0;
        self.log(behind, records.len());
        if !records.is_empty() || at_tip || closed {
            self.compare(records.first())?;
        }
        let mut until_now = false;
        if let Some(until) = self.part.until {
            let later = |record: &Record| {
                let arrival = record.approximate_arrival_timestamp.as_ref();
                arrival.is_some_and(|arrival| millis(arrival) > until)
            };
            let cut = records.iter().position(later);
            // An empty page may have come past that time too.
            let past = records.is_empty() && now().saturating_sub(behind) > until;
            until_now = cut.is_some() || at_tip || past;
            records.truncate(cut.unwrap_or(records.len()));
            if cut.is_some() {
                let mut events = self.events(records)?;
                self.ended = true;
                events.extend(self.renew(until)?);
                return Ok(events);
            }
        }
        let empty = records.is_empty();
        let mut events = self.events(records)?;
        if closed {
            events.extend(self.end()?);
            return Ok(events);
        }
        if let Some(next) = page.next {
            self.feed = Feed::Iterator(next);
        }
        if until_now {
            self.ended = true;
            events.extend(self.renew(now().saturating_sub(behind))?);
            return Ok(events);
        }
        let stale = self
            .renewed
            .is_none_or(|renewed| renewed.elapsed() > MINUTE);
        if empty && at_tip && stale {
            self.renewed = Some(Instant::now());
            events.extend(self.renew(now())?);
        }
        if matches!(self.feed, Feed::Pushed(_)) {
            return Ok(events);
        }
        #[expect(clippy::cast_precision_loss, reason = "10 MiB at most")]
        let pace = Duration::from_secs_f64(bytes as f64 / SHARD_RATE).max(LEAST_POLL);
        let pace = match at_tip {
            true => pace.max(self.shared.poll),
            false => pace,
        };
        self.due = begun + pace;
        Ok(events)
    }

    /// Says that all that came before this time was read.
    fn renew(&mut self, at: i64) -> Result<Option<Event>> {
        let position = self.position.get_or_insert_default();
        position.at = position.at.max(at);
        Ok(Some(Event::Progress(position.offset()?)))
    }

    /// Sees by the first record that is left whether something has expired unread.
    fn compare(&mut self, first: Option<&Record>) -> Result<()> {
        if !std::mem::take(&mut self.doubtful) {
            return Ok(());
        }
        let last = self
            .position
            .as_ref()
            .and_then(|position| position.sequence.as_ref());
        if first.map(|first| &first.sequence_number) == last {
            return Ok(());
        }
        self.shared.lost(
            &self.shard,
            "the last record that was read isn't there any more",
        )
    }

    fn log(&mut self, behind: i64, records: usize) {
        let shard = &*self.shard;
        tracing::debug!(shard, millis_behind = behind, records, "a page of a shard");
        let stale = self.logged.is_none_or(|logged| logged.elapsed() > MINUTE);
        if u128::try_from(behind).is_ok_and(|behind| behind > MINUTE.as_millis()) && stale {
            self.logged = Some(Instant::now());
            tracing::info!(
                shard,
                millis_behind = behind,
                "a shard isn't read to its end yet"
            );
        }
    }

    fn events(&mut self, records: Vec<Record>) -> Result<Vec<Event>> {
        let mut records = records.into_iter();
        let (mut events, mut pieces, mut bytes) = (Vec::new(), Vec::new(), 0);
        if self.overlaps
            && let Some(first) = records.next()
        {
            self.overlaps = false;
            self.overlapping(Arc::new(first), &mut events)?;
        }
        let mut last: Option<Arc<Record>> = None;
        for record in records {
            let record = Arc::new(record);
            if record.data.as_ref().len() >= LARGE && aggregate::seems(record.data.as_ref()) {
                if let Some(last) = last.take() {
                    events.push(self.event(std::mem::take(&mut pieces), &last, None)?);
                    bytes = 0;
                }
                self.cut(&record, 0, &mut events)?;
                continue;
            }
            let piece = Piece::rest(Arc::clone(&record), 0);
            bytes += piece.bytes;
            pieces.push(piece);
            if bytes >= EVENT {
                events.push(self.event(std::mem::take(&mut pieces), &record, None)?);
                (bytes, last) = (0, None);
            } else {
                last = Some(record);
            }
        }
        if let Some(last) = last {
            events.push(self.event(pieces, &last, None)?);
        }
        Ok(events)
    }

    /// The record at which reading continues: what of it wasn't read.
    fn overlapping(&mut self, record: Arc<Record>, events: &mut Vec<Event>) -> Result<()> {
        let read = self.position.as_ref().and_then(|position| {
            let same = position.sequence.as_ref() == Some(&record.sequence_number);
            same.then_some(position.sub)
        });
        match read {
            // It was read whole.
            Some(None) => Ok(()),
            Some(Some(sub)) => self.cut(&record, sub + 1, events),
            None => self.cut(&record, 0, events),
        }
    }

    /// A record by itself, in several events if it is an aggregated one of some size.
    fn cut(&mut self, record: &Arc<Record>, mut from: u64, events: &mut Vec<Event>) -> Result<()> {
        let subs = match record.data.as_ref().len() >= LARGE {
            true => aggregate::parse(record.data.as_ref()).unwrap_or_default(),
            false => Vec::new(),
        };
        let mut bytes = 0;
        let count = subs.len() as u64;
        for (number, sub) in (0..count).zip(&subs) {
            if number < from {
                continue;
            }
            bytes += sub.data.len() + sub.key.len();
            if bytes >= LARGE && number + 1 < count {
                let piece = Piece {
                    record: Arc::clone(record),
                    from,
                    to: number + 1,
                    bytes,
                };
                events.push(self.event(vec![piece], record, Some(number))?);
                (from, bytes) = (number + 1, 0);
            }
        }
        let rest = match subs.is_empty() {
            true => Piece::rest(Arc::clone(record), from),
            false => Piece {
                bytes: bytes + size_of::<Record>(),
                ..Piece::rest(Arc::clone(record), from)
            },
        };
        events.push(self.event(vec![rest], record, None)?);
        Ok(())
    }

    /// An event that ends with this record, or in it.
    fn event(&mut self, pieces: Vec<Piece>, last: &Record, sub: Option<u64>) -> Result<Event> {
        let position = self.position.get_or_insert_default();
        position.sequence = Some(last.sequence_number.clone());
        position.sub = sub;
        if let Some(arrival) = &last.approximate_arrival_timestamp {
            position.at = millis(arrival);
        }
        Ok(Event::Rows {
            stream: self.stream.clone(),
            resume: Some(position.offset()?),
            rows: Rows::Encoded(Box::new(Encoded {
                pieces,
                shard: Arc::clone(&self.shard),
                schema: Arc::clone(&self.schema),
            })),
            rejected: None,
        })
    }
}

/// Gives back what isn't needed.
fn less(mut room: OwnedSemaphorePermit, kib: usize) -> OwnedSemaphorePermit {
    room.split(kib).unwrap_or(room)
}
