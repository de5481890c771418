//! The source: what was kept, as events.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Acknowledged, Ask, Error, Event, EventStream, Limits, Next, Offset, Plan, PlanState, Replay,
    Result, Rows, Scan, Source, SourceContext, Split, SplitData, Stream, async_trait,
};
use tidegate_push::handover::{Opened, Reading};
use tidegate_push::wal::Log;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::config::{Ack, HttpServerConfig, Route};
use crate::decode::{self, Encoded, Requests};
use crate::inbox::{Inbox, Kept};
use crate::record;
use crate::server::Server;

/// The open source.
#[derive(Debug)]
pub(crate) struct HttpServerSource {
    routes: Vec<Route>,
    ack: Ack,
    max_wait: Duration,
    cx: SourceContext,
    /// `None` while the pipeline is only checked.
    server: Option<Arc<Server>>,
    queue: Option<Opened<Kept>>,
}

/// A position in the log. Another log's means nothing here.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Position {
    log: Uuid,
    at: u64,
}

impl HttpServerSource {
    pub(crate) async fn open(config: &HttpServerConfig, cx: &SourceContext) -> Result<Self> {
        let routes = config.routes();
        let server = cx
            .keep("server", || {
                Server::start(config, &routes, log_directory(config, cx), cx)
            })
            .await?;
        if server.is_none() {
            Server::check(config, &routes, cx)?;
        }
        let queue = server.as_ref().and_then(|server| match server.inbox() {
            Inbox::Queue { queue, .. } => Some(queue.open()),
            Inbox::Log { .. } => None,
        });
        Ok(Self {
            routes,
            ack: config.ack,
            max_wait: config.max_wait.0,
            cx: cx.clone(),
            server,
            queue,
        })
    }

    /// The log, and what rings when it wants a commit.
    fn log(&self) -> Option<(&Arc<Log>, &Arc<Notify>)> {
        match self.server.as_ref()?.inbox() {
            Inbox::Log { log, crowded, .. } => Some((log, crowded)),
            Inbox::Queue { .. } => None,
        }
    }

    /// The streams that somebody reads, with the columns that are wanted.
    fn wanted(&self, scans: &[Scan]) -> Result<Vec<Wanted>> {
        let wanted = self.routes.iter().filter_map(|route| {
            let scan = scans
                .iter()
                .find(|scan| scan.stream.as_str() == route.stream)?;
            Some((route, scan))
        });
        let wanted = wanted.map(|(route, scan)| {
            Ok(Wanted {
                stream: route.stream.as_str().into(),
                schema: scan.schema(&decode::schema(route))?,
            })
        });
        wanted.collect()
    }
}

/// The directory of the log, if there is to be one.
fn log_directory(config: &HttpServerConfig, cx: &SourceContext) -> PathBuf {
    // A pipeline's name may hold what a path can't.
    let plain = |name: &str| -> String {
        let safe = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
        let chars = name.chars().flat_map(|char| match safe(char) {
            true => vec![char],
            false => format!("%{:x}", u32::from(char)).chars().collect(),
        });
        chars.collect()
    };
    match &config.log {
        Some(directory) => cx.path(directory),
        None => cx
            .path(".tidegate/http")
            .join(plain(&cx.pipeline))
            .join(plain(cx.id.as_str())),
    }
}

#[async_trait]
impl Source for HttpServerSource {
    fn streams(&self) -> Vec<Stream> {
        let replay = match self.ack {
            Ack::Disk => Replay::Offset,
            Ack::Commit => Replay::Upstream,
            Ack::Memory => Replay::Never,
        };
        let streams = self.routes.iter().map(|route| Stream {
            name: route.stream.as_str().into(),
            schema: decode::schema(route),
            key: Vec::new(),
            bounded: false,
            replay,
        });
        streams.collect()
    }

    fn notes(&self) -> Vec<String> {
        match self.ack {
            Ack::Disk => Vec::new(),
            Ack::Commit => vec!["answers a request when its rows are committed".to_owned()],
            Ack::Memory => vec![
                "answers a request when its body is in memory: a crash loses what isn't committed"
                    .to_owned(),
            ],
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            splits: None,
            listens: true,
        }
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let mut new = Vec::new();
        if ask.first {
            // A log is one split forever. What waits in memory goes with the run.
            let id = match self.ack {
                Ack::Disk => "log".to_owned(),
                Ack::Commit | Ack::Memory => format!("requests-{}", self.cx.run.short()),
            };
            new.push(Split::new(id, SplitData::encode(&())?));
        }
        Ok(Plan {
            new,
            revoked: Vec::new(),
            state: PlanState::encode(&())?,
            next: Next::Complete,
        })
    }

    async fn read(
        &self,
        _: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let wanted: Arc<[Wanted]> = self.wanted(scans)?.into();
        let server = self.server.as_ref();
        let server =
            server.ok_or_else(|| Error::internal("a server is read that wasn't started"))?;
        server.serve(wanted.iter().map(|wanted| &*wanted.stream));
        if let Some((log, crowded)) = self.log() {
            let from = match resume {
                None => log.trimmed(),
                Some(resume) => place(log, resume.decode()?)?,
            };
            let crowded = Arc::clone(crowded);
            return logged(log, from, crowded, self.cx.clone(), wanted);
        }
        let queue = self.queue.as_ref();
        let queue = queue.ok_or_else(|| Error::internal("a server has neither log nor queue"))?;
        let asks = (self.ack == Ack::Commit).then_some(self.max_wait);
        Ok(queued(queue.read().await, self.cx.clone(), asks, wanted))
    }

    async fn acknowledge(&self, upto: &[Acknowledged]) -> Result<()> {
        if let Some(queue) = &self.queue {
            return queue.acknowledge(upto);
        }
        let Some((log, _)) = self.log() else {
            return Ok(());
        };
        for told in upto.iter().filter_map(|told| told.offset.as_ref()) {
            let position: Position = told.decode()?;
            if position.log != log.id() {
                continue;
            }
            let log = Arc::clone(log);
            tokio::task::spawn_blocking(move || log.trim(position.at))
                .await
                .map_err(|error| Error::internal("trimming a log failed").because(error))??;
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        if let Some(queue) = &self.queue {
            queue.close();
        }
        Ok(())
    }
}

/// Where to go on in the log.
fn place(log: &Log, position: Position) -> Result<u64> {
    if position.log == log.id() {
        return Ok(position.at);
    }
    Err(Error::new(
        tidegate_core::ErrorKind::Conflict,
        "the write-ahead log isn't the one that this pipeline has read so far",
    )
    .hint("set `log` to the directory that it was in; or, if that one is gone with what it held, run with --restart"))
}

/// A stream that somebody reads.
#[derive(Debug)]
struct Wanted {
    stream: Arc<str>,
    schema: arrow_schema::SchemaRef,
}

/// What is waited for before little is read: so that many small groups become few batches.
const LINGER: Duration = Duration::from_millis(10);

/// As little as this is little.
const LITTLE: usize = 256 << 10;

fn logged(
    log: &Log,
    from: u64,
    crowded: Arc<Notify>,
    cx: SourceContext,
    wanted: Arc<[Wanted]>,
) -> Result<EventStream> {
    let id = log.id();
    let reader = log.reader(from)?;
    let chunks = futures::stream::try_unfold((reader, false), move |(mut reader, lingers)| {
        let (wanted, crowded, cx) = (Arc::clone(&wanted), Arc::clone(&crowded), cx.clone());
        async move {
            if lingers {
                sleep(LINGER).await;
            }
            let chunk = {
                let mut next = pin!(reader.next());
                loop {
                    tokio::select! {
                        biased;
                        // All that was read before is taken, so that a commit covers it.
                        () = crowded.notified() => cx.request_cut(),
                        chunk = next.as_mut() => break chunk?,
                    }
                }
            };
            let lingers = chunk.size() < LITTLE;
            let at = chunk.end;
            let resume = Offset::encode(&Position { log: id, at })?;
            let events = events(Requests::Logged(chunk), resume, &wanted)?;
            Ok(Some((events, (reader, lingers))))
        }
    });
    Ok(chunks.map(flat).flatten().boxed())
}

/// The most requests of one event.
const TOGETHER: usize = 4096;

fn queued(
    reading: Reading<Kept>,
    cx: SourceContext,
    asks: Option<Duration>,
    wanted: Arc<[Wanted]>,
) -> EventStream {
    let state = (reading, None::<Instant>);
    let batches = futures::stream::try_unfold(state, move |(mut reading, mut asked)| {
        let (cx, wanted) = (cx.clone(), Arc::clone(&wanted));
        async move {
            let first = loop {
                let due = async {
                    match asked {
                        Some(due) => sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    // Whoever was read before waits for a commit.
                    () = due => {
                        asked = None;
                        cx.request_cut();
                    }
                    next = reading.next() => break next,
                }
            };
            let Some(first) = first else {
                return Ok(None);
            };
            let mut kept = vec![first];
            while kept.len() < TOGETHER
                && let Some(next) = reading.try_next()
            {
                kept.push(next);
            }
            let asked = asked.or_else(|| asks.map(|wait| Instant::now() + wait));
            let resume = reading.position()?;
            let events = events(Requests::Queued(Arc::new(kept)), resume, &wanted)?;
            Ok(Some((events, (reading, asked))))
        }
    });
    batches.map(flat).flatten().boxed()
}

fn flat(events: Result<VecDeque<Event>>) -> impl futures::Stream<Item = Result<Event>> {
    let (events, error) = match events {
        Ok(events) => (events, None),
        Err(error) => (VecDeque::new(), Some(error)),
    };
    futures::stream::iter(events.into_iter().map(Ok).chain(error.map(Err)))
}

/// An event for each stream that has some of the requests; the last one has the position.
fn events(requests: Requests, resume: Offset, wanted: &[Wanted]) -> Result<VecDeque<Event>> {
    let mut there = vec![false; wanted.len()];
    for record in requests.records() {
        let stream = record::stream(record)?;
        let at = wanted.iter().position(|wanted| &*wanted.stream == stream);
        // The server takes none of a stream that nobody reads, so the file has changed since.
        let at = at.ok_or_else(|| {
            Error::config(format!(
                "the write-ahead log holds requests of the stream `{stream}`, which nothing reads any more"
            ))
            .hint("let it be read as before until they are committed, then change the file")
        })?;
        there[at] = true;
    }
    let there = wanted.iter().zip(there).filter(|(_, there)| *there);
    let mut events: VecDeque<_> = there
        .map(|(wanted, _)| Event::Rows {
            stream: wanted.stream.as_ref().into(),
            rows: Rows::Encoded(Box::new(Encoded {
                requests: requests.clone(),
                stream: Arc::clone(&wanted.stream),
                schema: Arc::clone(&wanted.schema),
            })),
            rejected: None,
            resume: None,
        })
        .collect();
    match events.back_mut() {
        Some(Event::Rows { resume: last, .. }) => *last = Some(resume),
        _ => events.push_back(Event::Progress(resume)),
    }
    Ok(events)
}
