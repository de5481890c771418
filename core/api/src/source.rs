use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use tidegate_core::{
    Ask, Error, EventStream, KeyValue, Next, Offset, Plan, PlanState, Replay, Result, Scan, Source,
    Split, SplitData, Stream, StreamName, async_trait,
};
use tidegate_formats::{CsvOptions, Decoder, Format, OnNewColumns};
use tidegate_http::HttpClient;

use crate::fetch::{Api, Asks, Fetched, bound};
use crate::plan::{Begun, Counted, Reached, State};
use crate::step::{Step, plain};
use crate::walk::{Output, Pages, Piece, Position, Walk};
use crate::{Access, Endpoint, Incremental, Open, Pagination, learn, raw};

/// More pages than anyone has: a total that can't be right.
const MOST_PAGES: u64 = 1_000_000;

/// An API whose endpoints are streams.
///
/// Each run reads all of them, or what is new where they are incremental or conditional. Where a
/// server says how many pages there are, they are counted when the run begins, and read side by
/// side, handed out by thousands; records that are added later are the next run's. Elsewhere, and where a run reads only what
/// is new, pages are read one after the other: what is pushed to a page that was not counted would
/// never be asked for again.
pub struct ApiSource {
    api: Arc<Api>,
    endpoints: Vec<Arc<Endpoint>>,
    raw: bool,
    /// By stream, where columns were learnt.
    on_new: HashMap<StreamName, Arc<OnNewColumns>>,
    /// Where learnt columns are kept.
    store: Option<Arc<dyn KeyValue>>,
    /// By endpoint: the first page, fetched to count the pages, and the pages read since then.
    run: Mutex<HashMap<String, Run>>,
}

#[derive(Default)]
struct Run {
    kept: Option<(Step, Box<Fetched>)>,
    pages: Arc<Pages>,
}

impl ApiSource {
    /// Whether a state that was stored is one of such a source: see
    /// [`SourceConfig::understands`](tidegate_core::SourceConfig::understands).
    pub fn understands(state: &PlanState) -> Result<()> {
        state.decode::<Option<State>>().map(drop)
    }

    /// See [`SourceConfig::remembered_under`](tidegate_core::SourceConfig::remembered_under).
    pub const REMEMBERED_UNDER: &str = State::ENDPOINTS;

    /// A source of these endpoints, which [`Endpoint::validate`] has found good, of an API that lets
    /// everyone in.
    pub fn new(client: HttpClient, endpoints: Vec<Endpoint>) -> Self {
        let on_new = endpoints.iter().filter_map(|endpoint| {
            let policy = endpoint.on_new_columns?;
            Some((endpoint.name.clone(), Arc::new(OnNewColumns::new(policy))))
        });
        Self {
            on_new: on_new.collect(),
            store: None,
            api: Arc::new(Api {
                client,
                access: Arc::new(Open),
            }),
            endpoints: endpoints.into_iter().map(Arc::new).collect(),
            raw: false,
            run: Mutex::default(),
        }
    }

    /// With another way to send requests.
    #[must_use]
    pub fn access(mut self, access: Arc<dyn Access>) -> Self {
        self.api = Arc::new(Api {
            client: self.api.client.clone(),
            access,
        });
        self
    }

    /// With the store in which [`learn`](crate::learn()) keeps what it learns, so that columns can be
    /// added to it.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn KeyValue>) -> Self {
        self.store = Some(store);
        self
    }

    /// With the stream `raw`, a row for each page of each endpoint, or without (default).
    #[must_use]
    pub fn raw(mut self, raw: bool) -> Self {
        self.raw = raw;
        self
    }

    /// What is kept of the present run for an endpoint.
    fn run<T>(&self, endpoint: &Endpoint, use_it: impl FnOnce(&mut Run) -> T) -> T {
        let mut runs = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(runs.entry(endpoint.name.to_string()).or_default())
    }

    /// What a run of an endpoint begins with.
    async fn begin(&self, endpoint: &Endpoint, from: Reached) -> Result<Begun> {
        let since = bound(endpoint, from.mark.as_ref());
        let mut id = endpoint.name.to_string();
        if let Some(since) = &since {
            id = format!("{id}:since={}", plain(since));
        }
        let piece = Piece {
            endpoint: endpoint.name.clone(),
            first: Step::first(&endpoint.pagination),
            size: endpoint.pagination.size(),
            alone: false,
            told: None,
            last: None,
            since: from.mark,
            known: from.known,
        };
        self.run(endpoint, |run| *run = Run::default());
        let counted = match &endpoint.pagination {
            Pagination::Page {
                first,
                total: Some(total),
                ..
            } if endpoint.incremental.is_none() => Some((*first, total)),
            _ => None,
        };
        let Some((first, total)) = counted else {
            let all = Split::new(id, SplitData::encode(&piece)?);
            return Ok(Begun::Splits(vec![all]));
        };
        let asks = Asks {
            known: piece.known.as_ref(),
            ..Asks::default()
        };
        let fetched = self.api.fetch(endpoint, &piece.first, asks).await?;
        let Some(fetched) = fetched.page() else {
            return Ok(Begun::Splits(Vec::new()));
        };
        let begun = Begun::Counted(Box::new(Counted {
            id,
            first,
            pages: count(endpoint, &fetched)?,
            done: 0,
            records: fetched.records.count,
            of_records: !total.is_of_pages(),
            piece: Piece {
                alone: true,
                told: fetched.told,
                ..piece.clone()
            },
        }));
        self.run(endpoint, |run| run.kept = Some((piece.first, fetched)));
        Ok(begun)
    }
}

/// How many pages there are.
///
/// Errors: `Config` where that can't be right.
fn count(endpoint: &Endpoint, first: &Fetched) -> Result<u64> {
    // Also where there are none: then the first shows whether that is true.
    let pages = first.pages.unwrap_or(1).max(1);
    if pages > MOST_PAGES {
        let message = format!("the server says that there are {pages} pages");
        return Err(Error::config(message)
            .with("url", first.answer.shown_url())
            .with("stream", &endpoint.name)
            .hint(format!(
                "no more than {MOST_PAGES} pages are counted: ask for larger ones \
                 (`pagination.size`); or check `pagination.total`, or leave it out to read page \
                 after page"
            )));
    }
    Ok(pages)
}

/// How an endpoint is read, if not all of it in every run.
fn note(endpoint: &Endpoint) -> Option<String> {
    let name = &endpoint.name;
    match &endpoint.incremental {
        Some(Incremental { field, .. }) => Some(format!(
            "reads what is new in `{name}` since the run before, by `{field}`"
        )),
        None if endpoint.conditional => Some(format!(
            "reads `{name}` only if it has changed since the run before; if not, there are no rows, \
             which a sink with `mode = \"overwrite\"` takes for an empty table"
        )),
        None => None,
    }
}

#[async_trait]
impl Source for ApiSource {
    fn streams(&self) -> Vec<Stream> {
        let typed = self.endpoints.iter().filter_map(|endpoint| {
            Some(Stream {
                name: endpoint.name.clone(),
                schema: endpoint.schema.clone()?,
                key: endpoint.key.clone(),
                bounded: true,
                replay: Replay::Offset,
            })
        });
        typed.chain(self.raw.then(raw::stream)).collect()
    }

    fn notes(&self) -> Vec<String> {
        let endpoints = self.endpoints.iter();
        endpoints.filter_map(|endpoint| note(endpoint)).collect()
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let state = ask.state.map(PlanState::decode::<Option<State>>);
        let mut state = state.transpose()?.flatten().unwrap_or_default();
        state.finish(ask.finished)?;
        let new = if ask.first {
            let wanted = |name: &str| ask.scans.iter().any(|scan| scan.stream.as_str() == name);
            let mut questions = Vec::new();
            for endpoint in &self.endpoints {
                let streams = [
                    wanted(endpoint.name.as_str()),
                    self.raw && wanted(raw::NAME),
                ];
                if streams.contains(&true) {
                    let from = state.begin(endpoint, streams)?;
                    questions.push(self.begin(endpoint, from));
                }
            }
            state.take_up(try_join_all(questions).await?)?
        } else {
            state.hand_out()?
        };
        let next = match state.open {
            0 => Next::Complete,
            _ if !state.counted.is_empty() => Next::WhenFinished,
            _ if state.endpoints.is_empty() => Next::Complete,
            _ => Next::WhenFinished,
        };
        Ok(Plan {
            new,
            revoked: Vec::new(),
            state: PlanState::encode(&state)?,
            next,
        })
    }

    async fn read(
        &self,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let piece: Piece = split.data.decode()?;
        let mut endpoints = self.endpoints.iter();
        let endpoint = endpoints
            .find(|endpoint| endpoint.name == piece.endpoint)
            .ok_or_else(|| {
                Error::conflict(format!("there is no stream `{}` any more", piece.endpoint))
                    .hint("finish the run with the configuration it was begun with, or start over with --restart")
            })?;
        let mut outputs = Vec::new();
        for scan in scans {
            if self.raw && scan.stream.as_str() == raw::NAME {
                outputs.push(Output::Raw(scan.clone()));
            } else if let (true, Some(schema)) = (scan.stream == endpoint.name, &endpoint.schema) {
                let csv = CsvOptions::default();
                let mut decoder = Decoder::new(Format::Json, &csv, schema.clone(), scan)?;
                decoder.exact(endpoint.learnt);
                if let Some(on_new) = self.on_new.get(&scan.stream) {
                    decoder.on_new_columns(on_new, []);
                }
                outputs.push(Output::Typed(scan.stream.clone(), Box::new(decoder)));
            }
        }
        let position: Option<Position> = resume.map(Offset::decode).transpose()?;
        let begins = position.is_none();
        let (pages, kept) = self.run(endpoint, |run| {
            let fits = |kept: &mut (Step, Box<Fetched>)| begins && kept.0 == piece.first;
            (Arc::clone(&run.pages), run.kept.take_if(fits))
        });
        let mut endpoint = Arc::clone(endpoint);
        if endpoint.pagination.size() != piece.size {
            let of = Arc::make_mut(&mut endpoint);
            of.pagination = std::mem::take(&mut of.pagination).with_size(piece.size);
        }
        let api = Arc::clone(&self.api);
        let mut walk = Walk::new(api, endpoint, piece, position, outputs, pages);
        walk.kept = kept.map(|(_, fetched)| fetched);
        Ok(walk.events())
    }

    async fn close(&self) -> Result<()> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        for (stream, on_new) in &self.on_new {
            if let Some(wider) = on_new.wider() {
                learn::widen(store.as_ref(), &self.api.client, stream, &wider).await?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ApiSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiSource")
            .field("endpoints", &self.endpoints)
            .field("raw", &self.raw)
            .finish_non_exhaustive()
    }
}
