//! Reading page after page.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{Error, ErrorKind, Event, EventStream, Offset, Result, Scan, StreamName};
use tidegate_formats::Decoder;
use tidegate_http::{Url, redact, status_of};

use crate::fetch::{Api, Asks, Fetched, Got, Known, bound};
use crate::follow::{Next, gap, lying_before, unit};
use crate::hash::hash;
use crate::mark::{self, Mark};
use crate::step::Step;
use crate::{Endpoint, Pagination, encoded, page_events, raw};

/// After so many pages without a record, in a row, there is no end to be hoped for.
const MOST_EMPTY: u32 = 100;

/// A split: where reading begins, and how far it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) endpoint: StreamName,
    pub(crate) first: Step,
    /// How many records a page had when this was planned: numbers mean something only with it.
    #[serde(default)]
    pub(crate) size: Option<NonZeroU32>,
    /// Whether this page is all, of pages that were counted.
    #[serde(default)]
    pub(crate) alone: bool,
    /// How much there was then, where the server said so.
    #[serde(default)]
    pub(crate) told: Option<u64>,
    /// Set on the last page that was counted: how many records the first one had. Reading continues
    /// after it where there are more pages than were counted.
    #[serde(default)]
    pub(crate) last: Option<u64>,
    /// How far the last run came.
    #[serde(default)]
    pub(crate) since: Option<Mark>,
    /// What the last run's first page was.
    #[serde(default)]
    pub(crate) known: Option<Known>,
}

/// Where reading stands after a page.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The page to ask for; `None` at the end.
    pub(crate) next: Option<Step>,
    /// The largest value seen.
    pub(crate) high: Option<Mark>,
    /// What the first page was.
    pub(crate) known: Option<Known>,
    /// The page before: which it was, and a hash of its records.
    pub(crate) before: Option<(Step, u64)>,
    /// How many pages were read.
    #[serde(default)]
    pub(crate) pages: u64,
    /// The most records that a page had.
    #[serde(default)]
    pub(crate) largest: u64,
    /// How much there is, by what the server said last.
    #[serde(default)]
    pub(crate) told: Option<u64>,
    /// Whether the server says that there is nothing where `next` is.
    #[serde(default)]
    pub(crate) beyond: bool,
}

/// What an endpoint's splits know of each other in a run.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// Which page has the records of this hash.
    read: Mutex<HashMap<u64, Step>>,
    /// Whether it was said that how much there is has changed, or isn't true.
    said: AtomicBool,
}

/// A split that is being read.
pub(crate) struct Walk {
    pub(crate) api: Arc<Api>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) piece: Piece,
    pub(crate) position: Position,
    pub(crate) outputs: Vec<Output>,
    pub(crate) pages: Arc<Pages>,
    /// The first page, if planning fetched it already.
    pub(crate) kept: Option<Box<Fetched>>,
    /// The pages that were asked for by a cursor or URL, and which pages those were.
    asked: HashMap<u64, u64>,
    empty: u32,
}

/// What a page's rows become.
pub(crate) enum Output {
    Typed(StreamName, Box<Decoder>),
    Raw(Scan),
}

impl Walk {
    /// From the beginning, or from a position on.
    pub(crate) fn new(
        api: Arc<Api>,
        endpoint: Arc<Endpoint>,
        piece: Piece,
        resume: Option<Position>,
        outputs: Vec<Output>,
        pages: Arc<Pages>,
    ) -> Self {
        let position = resume.unwrap_or_else(|| Position {
            next: Some(piece.first.clone()),
            high: piece.since.clone(),
            largest: piece.last.unwrap_or(0),
            told: piece.told,
            ..Position::default()
        });
        Self {
            api,
            endpoint,
            piece,
            position,
            outputs,
            pages,
            kept: None,
            asked: HashMap::new(),
            empty: 0,
        }
    }

    /// The events of all pages that are left.
    pub(crate) fn events(self) -> EventStream {
        let pages = stream::try_unfold(self, |mut walk| async move {
            let events = walk.page().await?;
            Ok::<_, Error>(events.map(|events| (events, walk)))
        });
        pages
            .map_ok(|events| stream::iter(VecDeque::from(events).into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    /// Fetches the next page, and moves on; `None` at the end.
    async fn page(&mut self) -> Result<Option<Vec<Event>>> {
        let Some(step) = self.position.next.take() else {
            return Ok(None);
        };
        let since = bound(&self.endpoint, self.piece.since.as_ref());
        let since = since.as_ref();
        let first = step == self.piece.first;
        let beyond = std::mem::take(&mut self.position.beyond);
        let got = match self.kept.take() {
            Some(kept) => Ok(Got::Page(kept)),
            None => {
                let asks = Asks {
                    since,
                    known: self.piece.known.as_ref().filter(|_| first),
                    told: self.position.told,
                };
                self.api.fetch(&self.endpoint, &step, asks).await
            }
        };
        let mut fetched = match got {
            Ok(Got::Page(fetched)) => fetched,
            Ok(Got::Same) => {
                tracing::info!(stream = %self.endpoint.name, "nothing has changed since the last run");
                self.position.known = self.piece.known.clone();
                return self.end();
            }
            Ok(Got::None(error)) => {
                self.confirm_end(&step, since, |reached, told| {
                    error.with("before", reached).with("total", told).hint(
                        "the server says that there are so many (`pagination.total`), but not \
                         this page, which is among them",
                    )
                })
                .await?;
                return self.end();
            }
            Err(error) if beyond && is_refusal(&error) => {
                tracing::warn!(
                    stream = %self.endpoint.name,
                    %error,
                    "the server refuses what comes after the end that it tells: that is taken for \
                     the end"
                );
                return self.end();
            }
            Err(error) => return Err(error),
        };
        if first {
            self.position.known = fetched.known.clone();
        }
        if fetched.records.count == 0 {
            self.refuse_gap(&step, &fetched, since).await?;
        }
        if !fetched.asked {
            if !beyond {
                self.refuse_unnamed(&fetched, since).await?;
            }
            return self.end();
        }
        if beyond {
            if fetched.records.count == 0 || self.is_again(&fetched, since).await? {
                return self.end();
            }
            self.say_wrong(&fetched);
        }
        self.refuse_repetition(&step, &fetched, since).await?;
        self.position.pages += 1;
        self.count(&fetched);
        let next = std::mem::replace(&mut fetched.next, Next::End);
        let next = self.after(next, &fetched);
        let Fetched {
            answer,
            mut records,
            ..
        } = *fetched;
        if let Some(incremental) = &self.endpoint.incremental {
            let high = self.position.high.take();
            (records, self.position.high) = mark::advance(
                &answer,
                records,
                incremental,
                self.piece.since.as_ref(),
                high,
            )
            .map_err(|error| error.with("stream", &self.endpoint.name))?;
        }
        self.position.next = next.filter(|_| !self.piece.alone || self.piece.last.is_some());
        let rows = self.outputs.iter().map(|output| match output {
            Output::Typed(name, decoder) => {
                let rows = encoded(&records, &answer, Decoder::clone(decoder));
                Ok((name.clone(), rows))
            }
            Output::Raw(scan) => {
                let rows = raw::row(scan, self.endpoint.name.as_str(), &answer)?;
                Ok((scan.stream.clone(), rows))
            }
        });
        let rows = rows.collect::<Result<_>>()?;
        Ok(Some(page_events(rows, Offset::encode(&self.position)?)))
    }

    /// What is asked for next.
    fn after(&mut self, next: Next, fetched: &Fetched) -> Option<Step> {
        match next {
            Next::End => None,
            Next::Page(step) => Some(step),
            Next::Told { after, wrong } => {
                let size = self.endpoint.pagination.size();
                let full = size.map_or(self.position.largest, |size| size.get().into());
                if wrong {
                    self.say_wrong(fetched);
                }
                self.position.beyond = !wrong;
                (wrong || fetched.records.count >= full).then_some(after)
            }
        }
    }

    /// Takes note of how much there is on a page, and is said to be in all.
    fn count(&mut self, fetched: &Fetched) {
        self.position.largest = self.position.largest.max(fetched.records.count);
        let Some(now) = fetched.told else { return };
        let before = self.position.told.replace(now);
        // What is added while a run reads what is new is the next one's.
        let expected = |before| self.endpoint.incremental.is_some() && now > before;
        if let Some(before) = before.filter(|before| *before != now && !expected(*before))
            && !self.pages.said.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                stream = %self.endpoint.name,
                before,
                now,
                "how much there is has changed while pages were read: records may be missing or \
                 come twice, unless they are sorted by what doesn't change"
            );
        }
    }

    /// Says once that there is more than the server says.
    fn say_wrong(&self, fetched: &Fetched) {
        if !self.pages.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                stream = %self.endpoint.name,
                told = fetched.told.or(self.position.told),
                "there are more {} than the server says, so pages are read until an empty one: \
                 check `pagination.total`, or leave it out",
                unit(&self.endpoint)
            );
        }
    }

    /// Whether a page after the end that the server tells is one that was read before: some give
    /// their last page, or the first, to who asks for more.
    async fn is_again(&self, fetched: &Fetched, since: Option<&Value>) -> Result<bool> {
        let records = hash(&fetched.records.json);
        let first = Step::first(&self.endpoint.pagination);
        match &self.position.before {
            Some((_, before)) if *before == records => Ok(true),
            Some((step, _)) if *step == first => Ok(false),
            _ => Ok(self.records_of(&first, since).await? == Some(records)),
        }
    }

    /// A hash of the records that a page has by now.
    async fn records_of(&self, step: &Step, since: Option<&Value>) -> Result<Option<u64>> {
        let asks = Asks {
            since,
            told: self.position.told,
            ..Asks::default()
        };
        let got = self.api.fetch(&self.endpoint, step, asks).await?;
        Ok(got.page().map(|page| hash(&page.records.json)))
    }

    /// Where there is a `total`, a page without records must not be among what is counted.
    ///
    /// Errors: `Data`, instead of an end too early; those of fetching a page.
    async fn refuse_gap(
        &self,
        step: &Step,
        fetched: &Fetched,
        since: Option<&Value>,
    ) -> Result<()> {
        let gap = |reached, told| {
            let error = gap(&self.endpoint, &fetched.answer, reached, told);
            error.with("stream", &self.endpoint.name)
        };
        let Some(told) = fetched.told else {
            return self.confirm_end(step, since, gap).await;
        };
        // Some count one page, with nothing in it, where there is nothing.
        let is_counted = fetched.asked && unit(&self.endpoint) == "pages";
        let before = lying_before(&self.endpoint, step).unwrap_or(told);
        match before.saturating_add(u64::from(is_counted)) {
            reached if reached < told => Err(gap(reached, told)),
            _ => Ok(()),
        }
    }

    /// Where there is a `total`, a page that isn't there must not be among what is counted by now.
    ///
    /// Errors: what `gap` makes of how much lies before it, and how much there is; those of
    /// fetching a page.
    async fn confirm_end(
        &self,
        step: &Step,
        since: Option<&Value>,
        gap: impl FnOnce(u64, u64) -> Error,
    ) -> Result<()> {
        let before = lying_before(&self.endpoint, step);
        let Some((before, told)) = before.zip(self.position.told) else {
            return Ok(());
        };
        if before >= told {
            return Ok(());
        }
        let first = Step::first(&self.endpoint.pagination);
        let asks = Asks {
            since,
            told: self.position.told,
            ..Asks::default()
        };
        let again = self.api.fetch(&self.endpoint, &first, asks).await?;
        let told = again.page().and_then(|again| again.told);
        match told.filter(|told| before < *told) {
            Some(told) => Err(gap(before, told)),
            None => Ok(()),
        }
    }

    /// No more pages.
    fn end(&self) -> Result<Option<Vec<Event>>> {
        Ok(Some(vec![Event::Progress(Offset::encode(&self.position)?)]))
    }

    /// A page that doesn't say which is before it ends the reading only if it is the first, given
    /// again to who asks for one after the last.
    ///
    /// Errors: `Data`, instead of an end too early.
    async fn refuse_unnamed(&self, fetched: &Fetched, since: Option<&Value>) -> Result<()> {
        let Some(records) = fetched.unnamed else {
            return Ok(());
        };
        let first = Step::first(&self.endpoint.pagination);
        if self.position.before != Some((first.clone(), records))
            && self.records_of(&first, since).await? != Some(records)
        {
            let what = "the page doesn't say which page is before it, and is not the first";
            return Err(self.error(
                fetched,
                what,
                "check `pagination.previous`, the JSON pointer of the number of the page before",
            ));
        }
        tracing::warn!(
            stream = %self.endpoint.name,
            "the first page came again to who asked for the next, so it is taken for all there is: \
             if there are more, check `pagination.param` and `pagination.previous`"
        );
        Ok(())
    }

    /// A page that comes again leads to rows without end, or to the same rows over and over.
    ///
    /// Errors: `Data`, instead of the page.
    async fn refuse_repetition(
        &mut self,
        step: &Step,
        fetched: &Fetched,
        since: Option<&Value>,
    ) -> Result<()> {
        let records = hash(&fetched.records.json);
        let empty = fetched.records.count == 0;
        self.empty = if empty { self.empty + 1 } else { 0 };
        if self.empty > MOST_EMPTY {
            let what = format!("{MOST_EMPTY} pages in a row have no records, and there are more");
            let hint = match self.endpoint.pagination {
                Pagination::Cursor { .. } => {
                    "the server seems to page without end: if it says elsewhere whether there is \
                     another page, write that as `pagination.has_more`"
                }
                _ => "the server seems to page without end: tell its operator",
            };
            return Err(self.error(fetched, what, hint));
        }
        if matches!(step, Step::First | Step::Cursor(_) | Step::Url(_)) {
            let number = self.position.pages + 1;
            self.asked.insert(step.hash(), number);
            if let Next::Page(next) = &fetched.next
                && let Some(before) = self.asked.get(&next.hash())
            {
                return Err(self.circle(fetched, next, number, *before));
            }
        }
        if empty {
            return Ok(());
        }
        let before = self.position.before.take();
        let before = before.and_then(|(page, hash)| (hash == records).then_some(page));
        let alike = match step {
            // A server that begins again after its last page gives each of them again.
            Step::Page(_) | Step::Offset(_) => {
                let mut pages = self
                    .pages
                    .read
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let page = pages.entry(records).or_insert_with(|| step.clone());
                before.or_else(|| Some(page.clone()).filter(|page| page != step))
            }
            _ => before,
        };
        if let Some(page) = alike {
            self.refuse_alike(&page, records, fetched, since).await?;
        }
        self.position.before = Some((step.clone(), records));
        Ok(())
    }

    /// Two pages with the same records: the server gives the same to both questions, or records
    /// were added meanwhile and moved all others by a page.
    async fn refuse_alike(
        &self,
        page: &Step,
        records: u64,
        fetched: &Fetched,
        since: Option<&Value>,
    ) -> Result<()> {
        if self.records_of(page, since).await? != Some(records) {
            tracing::warn!(
                stream = %self.endpoint.name,
                "records were added while pages were read: some come twice"
            );
            return Ok(());
        }
        let what = match page {
            Step::Offset(before) => {
                format!("the page has the same records as the one from {before} on")
            }
            Step::Page(number) => format!("the page has the same records as page {number}"),
            _ => format!(
                "page {} has the same records as the one before",
                self.position.pages + 1
            ),
        };
        let hint = match page {
            Step::Page(_) | Step::Offset(_) => {
                "check `pagination.param`: the server seems not to know it. If it gives its last \
                 page again to who asks for one after it, say where the end is told: `total`, \
                 `has_more` or `previous`"
            }
            _ => match self.endpoint.pagination {
                Pagination::Cursor { .. } => {
                    "check `pagination.param`: the server seems not to know it, and gives the \
                     first page each time"
                }
                _ => "the server gives the same page at two addresses: tell its operator",
            },
        };
        Err(self.error(fetched, what, hint))
    }

    /// A page leads to one that was read already.
    fn circle(&self, fetched: &Fetched, next: &Step, number: u64, before: u64) -> Error {
        let (to, hint) = match next {
            Step::Cursor(cursor) => (
                format!("the cursor {cursor}"),
                "the server leads in a circle: check `pagination.cursor`, where the next cursor \
                 stands, and `pagination.param`, which sends it; if the server repeats a cursor at \
                 its end, say by `pagination.has_more` where it tells the end",
            ),
            Step::Url(url) => {
                let shown = Url::parse(url).map_or_else(|_| "***".to_owned(), |url| redact(&url));
                let hint = match self.endpoint.pagination {
                    Pagination::NextUrl { .. } => {
                        "the server leads in a circle: check `pagination.next`, where the next \
                         page's URL stands"
                    }
                    _ => "the server leads in a circle: tell its operator",
                };
                (shown, hint)
            }
            _ => (String::new(), "the server leads in a circle"),
        };
        let to = fetched.answer.excerpt(to.as_bytes());
        let what = format!(
            "the next page is one that was read already: page {number} leads to {to}, which was \
             page {before}"
        );
        self.error(fetched, what, hint)
    }

    fn error(&self, fetched: &Fetched, what: impl Into<String>, hint: &str) -> Error {
        let error = fetched.answer.error(ErrorKind::Data, what);
        error.with("stream", &self.endpoint.name).hint(hint)
    }
}

/// Whether a server has answered, and won't give another answer soon.
fn is_refusal(error: &Error) -> bool {
    let passes = matches!(
        error.kind(),
        ErrorKind::RateLimited { .. } | ErrorKind::Exhausted
    );
    status_of(error).is_some() && !passes
}
