//! Reading page after page.

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{Error, ErrorKind, Event, EventStream, Offset, Result, Scan, StreamName};
use tidegate_formats::Decoder;

use crate::fetch::{Api, Fetched, Known, bound};
use crate::hash::hash;
use crate::mark::{self, Mark};
use crate::step::Step;
use crate::{Endpoint, Pagination, encoded, page_events, raw};

/// After so many pages without a record, in a row, there is no end to be hoped for.
const MOST_EMPTY: u32 = 1_000;

/// A split: where reading begins, and how far it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) endpoint: StreamName,
    pub(crate) first: Step,
    /// How many records a page had when this was planned: numbers mean something only with it.
    #[serde(default)]
    pub(crate) size: Option<NonZeroU32>,
    /// Whether this page is all.
    #[serde(default)]
    pub(crate) alone: bool,
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
}

/// The pages of an endpoint's splits that were read in this run: which has the records of this hash.
pub(crate) type Pages = Mutex<HashMap<u64, Step>>;

/// A split that is being read.
pub(crate) struct Walk {
    pub(crate) api: Arc<Api>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) piece: Piece,
    pub(crate) position: Position,
    pub(crate) outputs: Vec<Output>,
    pub(crate) pages: Arc<Pages>,
    /// The first page, if planning fetched it already.
    pub(crate) kept: Option<Fetched>,
    /// The pages that were asked for by a cursor or URL.
    asked: HashSet<u64>,
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
            asked: HashSet::new(),
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
        let first = step == self.piece.first;
        let fetched = match self.kept.take() {
            Some(kept) => Some(kept),
            None => {
                let known = self.piece.known.as_ref().filter(|_| first);
                let fetched = self
                    .api
                    .fetch(&self.endpoint, &step, since.as_ref(), known)
                    .await;
                match fetched {
                    Err(error) if self.is_end(&step, &error) => {
                        self.confirm_end(&step, error, since.as_ref()).await?;
                        return self.end();
                    }
                    fetched => fetched?,
                }
            }
        };
        let Some(fetched) = fetched else {
            tracing::info!(stream = %self.endpoint.name, "nothing has changed since the last run");
            self.position.known = self.piece.known.clone();
            return self.end();
        };
        if first {
            self.position.known = fetched.known.clone();
        }
        self.refuse_unnamed(&fetched, since.as_ref()).await?;
        self.refuse_repetition(&step, &fetched, since.as_ref())
            .await?;
        let Fetched {
            answer,
            mut records,
            next,
            ..
        } = fetched;
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
        self.position.next = next.filter(|_| !self.piece.alone);
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

    /// Whether the server says by an error that the page before was the last.
    fn is_end(&self, step: &Step, error: &Error) -> bool {
        let may = matches!(
            self.endpoint.pagination,
            Pagination::Page {
                missing_page_ends: true,
                ..
            }
        );
        let first = Step::first(&self.endpoint.pagination);
        may && *step != first && error.kind() == ErrorKind::NotFound
    }

    /// Where pages are counted, one that is missing must also be missing from their number by now.
    ///
    /// Errors: `error`, which said that it is missing; those of fetching a page.
    async fn confirm_end(&self, step: &Step, error: Error, since: Option<&Value>) -> Result<()> {
        let Pagination::Page {
            first,
            total: Some(_),
            ..
        } = &self.endpoint.pagination
        else {
            return Ok(());
        };
        let again = Step::Page(*first);
        let again = self.api.fetch(&self.endpoint, &again, since, None).await?;
        let pages = again.and_then(|again| again.pages);
        match (step, pages) {
            (Step::Page(number), Some(pages)) if number.saturating_sub(*first) < pages => {
                Err(error.with("page", number).with("pages", pages).hint(
                    "the server says that there are so many pages, but one of them is missing",
                ))
            }
            _ => Ok(()),
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
        if self.position.before != Some((first.clone(), records)) {
            let again = self.api.fetch(&self.endpoint, &first, since, None).await?;
            if again.is_none_or(|again| hash(&again.records.json) != records) {
                let what = "the page doesn't say which page is before it, and is not the first";
                return Err(self.error(
                    fetched,
                    what,
                    "check `pagination.previous`, the JSON pointer of the number of the page before",
                ));
            }
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
            return Err(self.error(fetched, what, "the server seems to page without end"));
        }
        if matches!(step, Step::First | Step::Cursor(_) | Step::Url(_)) {
            self.asked.insert(step.hash());
            let again = fetched.next.as_ref();
            if again.is_some_and(|next| self.asked.contains(&next.hash())) {
                let what = "the next page is one that was read already";
                return Err(self.error(
                    fetched,
                    what,
                    "the server leads in a circle: check where `pagination` takes the next page \
                     from, and the parameter that sends it",
                ));
            }
        }
        if empty {
            return Ok(());
        }
        let alike = match self.piece.alone {
            false => {
                let before = self.position.before.take();
                before.and_then(|(page, hash)| (hash == records).then_some(page))
            }
            true => {
                let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
                let page = pages.entry(records).or_insert_with(|| step.clone());
                Some(page.clone()).filter(|page| page != step)
            }
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
        let again = self.api.fetch(&self.endpoint, page, since, None).await?;
        if again.is_none_or(|again| hash(&again.records.json) != records) {
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
            _ => "the page has the same records as the one before".to_owned(),
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

    fn error(&self, fetched: &Fetched, what: impl Into<String>, hint: &str) -> Error {
        let error = fetched.answer.error(ErrorKind::Data, what);
        error.with("stream", &self.endpoint.name).hint(hint)
    }
}
