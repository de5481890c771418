//! The source as it is open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tidegate_api::raw;
use tidegate_core::{
    Ask, Error, EventStream, Next, Offset, Plan, PlanState, Replay, Result, Scan, Source,
    SourceContext, Split, SplitData, SplitId, Stream, async_trait,
};
use tidegate_http::Quota;

use crate::budget::{Budget, Forecast, requests_for};
use crate::client::{Client, Page};
use crate::config::StackOverflowConfig;
use crate::decode::RowDecoder;
use crate::plan::{Piece, Reading, Start, State, shown};
use crate::read::{Kept, Lane, Reader};
use crate::streams::{Kind, SortBy};
use crate::walk::{Position, Walk};
use crate::window::{Direction, Window};

/// A site whose methods are streams, and whose windows of time are splits.
#[derive(Debug)]
pub(crate) struct StackOverflowSource {
    config: StackOverflowConfig,
    client: Arc<Client>,
    budget: Budget,
    streams: Vec<(Kind, SortBy)>,
    /// What was known of the quota when it was opened.
    quota: Option<Quota>,
    /// Pages that were fetched to plan, until they are read.
    kept: Mutex<HashMap<SplitId, Kept>>,
}

/// What a stream's first page says of its window.
struct Probed {
    split: Split,
    window: Window,
    kept: Option<Kept>,
    rows: Option<u64>,
}

impl StackOverflowSource {
    /// Makes no request: every one counts.
    pub(crate) async fn open(config: &StackOverflowConfig, cx: &SourceContext) -> Result<Self> {
        let streams = config.sorts()?;
        let client = Client::new(cx, config, &streams)?;
        Ok(Self {
            quota: client.quota().await?,
            budget: Budget::new(cx, config.on_quota),
            client: Arc::new(client),
            streams,
            config: config.clone(),
            kept: Mutex::default(),
        })
    }

    /// The streams that a run needs: all of them for `raw`.
    fn needed(&self, scans: &[Scan]) -> impl Iterator<Item = (Kind, SortBy)> {
        let wanted = |name: &str| scans.iter().any(|scan| scan.stream.as_str() == name);
        let all = wanted(raw::NAME);
        let streams = self.streams.iter().copied();
        streams.filter(move |(kind, _)| all || wanted(kind.name()))
    }

    /// Looks at the first page of a stream's next window.
    async fn probe(&self, kind: Kind, by: &SortBy, state: &State) -> Result<Option<Probed>> {
        let direction = Direction::from(self.config.order);
        let reading = Reading::new(&self.config, by);
        let start = by.grows().then(|| {
            let since = self.config.since.map(|since| since.seconds(Utc::now()));
            state.start(kind, &reading, since)
        });
        let first = start.is_none_or(|start| start.first);
        let window = |to| match start {
            Some(Start { from, .. }) => Window::Dates { from, to },
            None => Window::All,
        };
        let mut to = self.settled(self.client.now());
        let mut kept = None;
        // What `max_requests` has no room for is read without a forecast.
        if self.client.allowed() != Some(0) {
            let pagesize = self.config.pagesize;
            let ask = Walk::new(window(None), direction, pagesize, Position::default()).next();
            let ask = ask.ok_or_else(|| Error::internal("a walk without a start"))?;
            let page = self.client.page(kind, by, &ask, true).await?;
            // The end is fixed by the time that the answer tells, not by our clock. What the page
            // has of later rows is left out.
            to = page
                .answer
                .server_time()
                .map_or(to, |time| self.settled(time));
            kept = Some(Kept { ask, page });
        }
        let window = window(Some(to));
        if window.is_empty() {
            return Ok(None);
        }
        let piece = Piece {
            kind,
            sort: by.sort,
            direction,
            window,
        };
        let rows = kept.as_ref().and_then(|kept| kept.page.total);
        let id = piece.id(&self.config.site, first);
        let split = Split::new(id, SplitData::encode(&piece)?).estimate(rows, None);
        Ok(Some(Probed {
            split,
            window,
            kept,
            rows,
        }))
    }

    /// The last second of which an answer given at a time has everything. The present second isn't
    /// over, so the lag is at least one.
    fn settled(&self, time: DateTime<Utc>) -> i64 {
        time.timestamp().saturating_sub(self.lag())
    }

    fn lag(&self) -> i64 {
        let lag = self.config.lag.0.as_millis().div_ceil(1_000).max(1);
        i64::try_from(lag).unwrap_or(i64::MAX)
    }

    /// What was to be read, and by how many requests, in a word for the memory of a refused run.
    fn what(&self, scans: &[Scan], state: &State) -> Result<String> {
        let readings: Vec<_> = self
            .needed(scans)
            .map(|(kind, by)| (kind, Reading::new(&self.config, &by)))
            .collect();
        let StackOverflowConfig {
            since,
            pagesize,
            max_requests,
            ..
        } = &self.config;
        serde_json::to_string(&(readings, since, pagesize, max_requests, state))
            .map_err(|error| Error::internal("a plan could not be written").because(error))
    }

    async fn plan_run(&self, ask: &Ask<'_>) -> Result<Plan> {
        let mut state: State = ask
            .state
            .map_or_else(|| Ok(State::default()), PlanState::decode)?;
        let what = self.what(ask.scans, &state)?;
        let quota = self.client.quota().await?;
        self.budget.look_back(&what, quota.as_ref()).await?;

        let mut probed = Vec::new();
        for (kind, by) in self.needed(ask.scans) {
            let Some(probe) = self.probe(kind, &by, &state).await? else {
                tracing::debug!(stream = kind.name(), "nothing is old enough to be read");
                continue;
            };
            let rows = probe.rows;
            let upto = probe.window.end().map(shown);
            tracing::debug!(stream = kind.name(), rows, upto, "planned");
            probed.push((kind, by, probe));
        }
        let made = probed.iter().filter(|(.., probe)| probe.kept.is_some());
        let requests = |probe: &Probed| requests_for(probe.rows.unwrap_or(0), self.config.pagesize);
        let made = u64::try_from(made.count()).unwrap_or(u64::MAX);
        let needed = probed.iter().map(|(.., probe)| requests(probe)).sum();
        let forecast = Forecast {
            needed: match self.client.allowed() {
                Some(more) => made.saturating_add(more).min(needed),
                None => needed,
            },
            made,
        };
        let quota = self.client.quota().await?;
        if !probed.is_empty() {
            self.budget.weigh(&what, forecast, quota.as_ref()).await?;
        }

        let mut new = Vec::new();
        let mut pages = HashMap::new();
        for (kind, by, probe) in probed {
            if let Some(to) = probe.window.end() {
                state.reach(kind, Reading::new(&self.config, &by), to);
            }
            // The page has all of the window, and that is nothing.
            let window = probe.window;
            let nothing =
                |page: &Page| !page.has_more && !page.items.iter().any(|item| window.has(&item.at));
            if probe.kept.as_ref().is_some_and(|kept| nothing(&kept.page)) {
                continue;
            }
            pages.extend(probe.kept.map(|kept| (probe.split.id.clone(), kept)));
            new.push(probe.split);
        }
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = pages;
        Ok(Plan {
            new,
            revoked: Vec::new(),
            state: PlanState::encode(&state)?,
            next: Next::Complete,
        })
    }
}

#[async_trait]
impl Source for StackOverflowSource {
    fn streams(&self) -> Vec<Stream> {
        let typed = self.streams.iter().map(|(kind, _)| Stream {
            name: kind.name().into(),
            schema: kind.schema(),
            key: vec![kind.key().to_owned()],
            bounded: true,
            replay: Replay::Offset,
        });
        let raw = self.config.raw.then(raw::stream);
        typed.chain(raw).collect()
    }

    fn notes(&self) -> Vec<String> {
        let config = &self.config;
        let access = match (&config.access_token, &config.key) {
            (Some(_), _) => "reads with an access token: 10,000 requests a day for its user",
            (None, Some(_)) => "reads with a key: 10,000 requests a day",
            (None, None) => "reads without a key: 300 requests a day for this address",
        };
        let mut notes = vec![access.to_owned()];
        if let Some(quota) = &self.quota {
            notes.push(format!("knows of the quota: {quota}"));
        }
        notes.extend(self.streams.iter().map(|(kind, by)| match by.grows() {
            true => format!(
                "reads `{kind}` by `{}`, on from where the last run ended",
                by.sort
            ),
            false => format!("reads all of `{kind}` in every run, by `{}`", by.sort),
        }));
        notes
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        if ask.first {
            return self.plan_run(ask).await;
        }
        Ok(Plan {
            new: Vec::new(),
            revoked: Vec::new(),
            state: match ask.state {
                Some(state) => state.clone(),
                None => PlanState::encode(&State::default())?,
            },
            next: Next::Complete,
        })
    }

    async fn read(
        &self,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let piece: Piece = split.data.decode()?;
        let kind = piece.kind;
        let by = kind
            .sorted(Some(piece.sort))
            .ok_or_else(|| Error::conflict("a stored split is sorted by what its stream hasn't"))?;
        let mut lanes = Vec::new();
        for scan in scans {
            match scan.stream.as_str() {
                raw::NAME => lanes.push(Lane::Raw(scan.clone())),
                name if name == kind.name() => {
                    let decoder = RowDecoder::new(kind, scan, self.config.entities())?;
                    lanes.push(Lane::Typed(scan.stream.clone(), Arc::new(decoder)));
                }
                _ => {}
            }
        }
        let position = resume.map_or_else(|| Ok(Position::default()), Offset::decode)?;
        let kept = match resume {
            None => {
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.remove(&split.id)
            }
            Some(_) => None,
        };
        let reader = Reader {
            client: Arc::clone(&self.client),
            kind,
            by,
            walk: Walk::new(
                piece.window,
                piece.direction,
                self.config.pagesize,
                position,
            ),
            settled: match piece.window {
                Window::Dates { to, .. } => to.map(|to| to.saturating_add(self.lag())),
                Window::All => None,
            },
            lanes,
            turn: None,
            tell: kept.is_none().then_some(self.config.pagesize),
            kept,
        };
        Ok(reader.events())
    }
}
