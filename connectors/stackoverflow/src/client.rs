//! What goes over the wire: pages and filters, each request through the ledger.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::{Either, select};
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_core::{
    Context, Error, ErrorKind, KeyValue, Metrics, Result, SecretValue, SourceContext,
};
use tidegate_http::{HttpClient, Ledger, LedgerOptions, Quota, Request, Response, Url, redact};
use tokio::sync::{OnceCell, OwnedRwLockReadGuard, RwLock};

use crate::config::StackOverflowConfig;
use crate::error::Judge;
use crate::filter::{Made, Recipe, Wanted};
use crate::streams::{Item, Kind, SortBy};
use crate::walk::{Answer, PageAsk};

/// How many requests a second are made at most. The API bears 30 of one address
/// (<https://api.stackexchange.com/docs/throttle>), and doesn't say how it counts them.
const PER_SECOND: f64 = 25.0;

/// How often to look whether another pipeline has made a filter.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long the end of a run waits for what was asked for before.
const PATIENCE: Duration = Duration::from_secs(60);

/// Speaks with the API.
pub(crate) struct Client {
    http: HttpClient,
    ledger: Ledger,
    judge: Judge,
    base: Url,
    site: String,
    tagged: String,
    pagesize: u32,
    key: Option<SecretValue>,
    access_token: Option<SecretValue>,
    pages: Wanted,
    with_total: Recipe,
    /// Whether texts come encoded for HTML.
    encoded: bool,
    /// The ids of the filters, once they are known: for pages, and the same with `total`.
    filters: [OnceCell<String>; 2],
    shared: Arc<dyn KeyValue>,
    metrics: Arc<Metrics>,
    max_requests: Option<u64>,
    begun: AtomicU64,
    /// By how many seconds the API's clock is ahead of ours.
    skew: AtomicI64,
    turns: Arc<RwLock<()>>,
}

/// Held by who asks for a page, until what came of it is taken.
pub(crate) type Turn = OwnedRwLockReadGuard<()>;

/// A page of rows.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) answer: Response,
    /// Each row as the API sent it: a part of the body.
    pub(crate) rows: Vec<Bytes>,
    /// What the rows are told apart and sorted by.
    pub(crate) items: Vec<Item>,
    pub(crate) has_more: bool,
    pub(crate) total: Option<u64>,
}

impl Page {
    /// What it says, as far as a walk goes by it.
    pub(crate) fn as_answer(&self) -> Answer<'_> {
        Answer {
            items: &self.items,
            has_more: self.has_more,
            total: self.total,
        }
    }
}

/// The API's answer to a request for rows.
#[derive(Deserialize)]
struct Wrapper<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    has_more: Option<bool>,
    total: Option<u64>,
}

impl Client {
    pub(crate) fn new(
        cx: &SourceContext,
        config: &StackOverflowConfig,
        streams: &[(Kind, SortBy)],
    ) -> Result<Self> {
        let base = config.url()?;
        let secret = |secret: &Option<tidegate_core::Secret>| match secret {
            None => Ok(None),
            Some(secret) => secret.resolve(cx).map(Some),
        };
        let (key, access_token) = (secret(&config.key)?, secret(&config.access_token)?);
        let http = HttpClient::new(cx)?;
        let secrets: Vec<_> = [&key, &access_token]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        for secret in &secrets {
            http.hide(secret.expose());
        }
        Ok(Self {
            ledger: ledger(cx, config, &base, &key, &access_token),
            judge: Judge {
                on_quota: config.on_quota,
                caution: config.caution.0,
                longest: http.longest_wait(),
                secrets,
            },
            http,
            base,
            site: config.site.clone(),
            tagged: config.tagged.join(";"),
            pagesize: config.pagesize,
            key,
            access_token,
            pages: config.filter.pages(streams),
            with_total: config.filter.with_total(streams),
            encoded: !config.filter.is_unsafe(),
            filters: Default::default(),
            shared: Arc::clone(&cx.shared),
            metrics: Arc::clone(&cx.metrics),
            max_requests: config.max_requests.map(u64::from),
            begun: AtomicU64::new(0),
            skew: AtomicI64::new(0),
            turns: Arc::default(),
        })
    }

    /// What is known of the quota by now.
    pub(crate) async fn quota(&self) -> Result<Option<Quota>> {
        self.ledger.quota().await
    }

    /// Has to be held while a page is fetched and until what came of it is taken.
    pub(crate) async fn turn(&self) -> Turn {
        Arc::clone(&self.turns).read_owned().await
    }

    /// Waits until what others have asked for has come and is taken. Whoever ends the run because
    /// there are no more requests must not take from others what was already paid for.
    pub(crate) async fn others(&self) {
        // In vain where nobody takes it; the run ends all the same.
        let _ = tokio::time::timeout(PATIENCE, self.turns.write()).await;
    }

    /// Fetches a page. With `total`, the answer also says how many rows there are in all.
    ///
    /// Errors: what [`Judge`] says; `Data` where rows lack what they are sorted by; `Exhausted`
    /// where the quota or `max_requests` is spent.
    pub(crate) async fn page(
        &self,
        kind: Kind,
        by: &SortBy,
        ask: &PageAsk,
        total: bool,
    ) -> Result<Page> {
        let filter = self.filter(total || ask.total).await?;
        let mut request = self
            .get(kind.name())
            .query("site", &self.site)
            .query("sort", by.sort)
            .query("order", ask.direction.name())
            .query("pagesize", if ask.count { 1 } else { self.pagesize })
            .query("page", ask.page)
            .query("filter", filter);
        for (name, value) in [("min", &ask.min), ("max", &ask.max)] {
            if let Some(value) = value {
                request = request.query(name, value);
            }
        }
        if !self.tagged.is_empty() {
            request = request.query("tagged", &self.tagged);
        }
        let answer = self.send(request, kind.name()).await?;
        page(answer, kind, by, self.encoded)
    }

    /// The id of the filter to send, which is made if nobody has made it.
    async fn filter(&self, total: bool) -> Result<&str> {
        let made = self.filters[usize::from(total)].get_or_try_init(|| async {
            let recipe = match (&self.pages, total) {
                (Wanted::Named(name), false) => return Ok(name.clone()),
                (Wanted::Made(recipe), false) => recipe,
                (_, true) => &self.with_total,
            };
            if let Some(made) = recipe.recall(&*self.shared, &self.base).await? {
                return Ok(made.filter);
            }
            // Asking for it waits if another pipeline is doing that, and then there it is.
            let (make, others) = (pin!(self.make(recipe)), pin!(self.made_by_others(recipe)));
            let made = match select(make, others).await {
                Either::Left((made, _)) | Either::Right((made, _)) => made?,
            };
            Ok::<_, Error>(made.filter)
        });
        made.await.map(String::as_str)
    }

    async fn make(&self, recipe: &Recipe) -> Result<Made> {
        let mut request = self.get(Recipe::METHOD);
        for (name, value) in recipe.query() {
            request = request.query(name, value);
        }
        let answer = self.send(request, Recipe::METHOD).await;
        let answer = answer.map_err(|error| recipe.blamed(error))?;
        let Wrapper { items, .. } = wrapper(&answer)?;
        let [item] = items[..] else {
            return Err(answer.error(ErrorKind::Data, "the API made no filter"));
        };
        let made = recipe
            .made(item.get())
            .map_err(|error| error.with("url", answer.shown_url()))?;
        recipe.remember(&made, &*self.shared, &self.base).await?;
        Ok(made)
    }

    /// Waits until another pipeline has made a filter.
    async fn made_by_others(&self, recipe: &Recipe) -> Result<Made> {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            if let Some(made) = recipe.recall(&*self.shared, &self.base).await? {
                return Ok(made);
            }
        }
    }

    fn get(&self, method: &str) -> Request<'_> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(method.split('/'));
        }
        // The ledger counts for an account, and the API for the address.
        let mut request = self.http.get(url).paced("stackexchange", PER_SECOND);
        for (name, secret) in [("key", &self.key), ("access_token", &self.access_token)] {
            if let Some(secret) = secret {
                request = request.query(name, secret.expose());
            }
        }
        request
    }

    async fn send(&self, request: Request<'_>, method: &str) -> Result<Response> {
        self.count()?;
        let answer = request
            .dialect(&self.judge)
            .through(&self.ledger, method)
            .send()
            .await?;
        if let Some(time) = answer.server_time() {
            let skew = time.timestamp() - answer.fetched_at.timestamp();
            self.skew.store(skew, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// Counts a request, unless the run has made as many as it may.
    fn count(&self) -> Result<()> {
        let Some(most) = self.max_requests else {
            return Ok(());
        };
        // Those that were retried count too; those under way aren't counted there yet.
        let made = self.metrics.total_requests();
        let one_more = |begun: u64| {
            let begun = begun.max(made);
            (begun < most).then_some(begun + 1)
        };
        let counted = self
            .begun
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.map(drop).map_err(|_| {
            Error::exhausted("the run has made as many requests as `max_requests` allows")
                .with("max_requests", most)
                .hint("run again: it resumes where it stopped")
        })
    }

    /// How many more requests this run may make; `None` if it has no limit of its own.
    pub(crate) fn allowed(&self) -> Option<u64> {
        let made = self.metrics.total_requests();
        let begun = self.begun.load(Ordering::Relaxed).max(made);
        self.max_requests.map(|most| most.saturating_sub(begun))
    }

    /// What time it is by the API's clock, as far as an answer has told.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        let skew = TimeDelta::try_seconds(self.skew.load(Ordering::Relaxed));
        let now = Utc::now();
        skew.and_then(|skew| now.checked_add_signed(skew))
            .unwrap_or(now)
    }
}

fn ledger(
    cx: &Context,
    config: &StackOverflowConfig,
    base: &Url,
    key: &Option<SecretValue>,
    access_token: &Option<SecretValue>,
) -> Ledger {
    // A token has a quota of its own; a key raises that of the address, wherever it is used.
    let secrets: Vec<_> = match access_token {
        Some(token) => vec![token.expose()],
        None => key.iter().map(SecretValue::expose).collect(),
    };
    let host = base.host_str().unwrap_or_default();
    let host = match base.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let account = Ledger::account_of(&host, &secrets);
    let mut options = LedgerOptions::new(account);
    options.per_second = Some(PER_SECOND);
    options.repeat_after = Some(config.repeat_after.0);
    options.caution = config.caution.0;
    options.on_quota = config.on_quota;
    Ledger::new(cx, options)
}

fn wrapper(answer: &Response) -> Result<Wrapper<'_>> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        answer
            .error(ErrorKind::Data, "the API's answer is not as documented")
            .because(answer.shown(&error.to_string()))
    })
}

fn page(answer: Response, kind: Kind, by: &SortBy, encoded: bool) -> Result<Page> {
    let Wrapper {
        items,
        has_more,
        total,
    } = wrapper(&answer)?;
    let has_more = has_more.ok_or_else(|| {
        answer
            .error(
                ErrorKind::Data,
                "the API's answer doesn't say whether there is more",
            )
            .hint("the filter must have `.has_more`")
    })?;
    let rows: Vec<_> = items
        .iter()
        .map(|row| answer.body.slice_ref(row.get().as_bytes()))
        .collect();
    let items = items
        .iter()
        .map(|row| {
            Item::of(kind, by, row.get(), encoded).map_err(|why| {
                Error::data(why)
                    .with("url", answer.shown_url())
                    .hint("without it, what comes next can't be asked for; the filter must have it")
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Page {
        rows,
        items,
        has_more,
        total,
        answer,
    })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &redact(&self.base))
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}
