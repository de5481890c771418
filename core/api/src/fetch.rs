//! Pages, fetched one by one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{Error, ErrorKind, Result};
use tidegate_http::{HttpClient, Response, Validators, status_of};

use crate::follow::{Given, Next, Page};
use crate::hash::hash;
use crate::mark::Mark;
use crate::records::{find, is_nothing};
use crate::step::{Asked, Step};
use crate::{Access, Endpoint, Records, body};

/// What pages are fetched with.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) client: HttpClient,
    pub(crate) access: Arc<dyn Access>,
}

impl Api {
    /// See [`Via::fetch`].
    pub(crate) async fn fetch(
        &self,
        endpoint: &Endpoint,
        step: &Step,
        asks: Asks<'_>,
    ) -> Result<Got> {
        let via = Via {
            client: &self.client,
            access: &*self.access,
        };
        via.fetch(endpoint, step, asks).await
    }
}

/// The same, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Via<'a> {
    pub(crate) client: &'a HttpClient,
    pub(crate) access: &'a dyn Access,
}

/// What a page is asked for with, besides its step.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asks<'a> {
    /// From which bound on.
    pub(crate) since: Option<&'a Value>,
    /// Only if it isn't this one.
    pub(crate) known: Option<&'a Known>,
    /// How much there is, by what pages before have said: some servers say it only once.
    pub(crate) told: Option<u64>,
}

/// Validators, and which question's answer they belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) asked: u64,
    pub(crate) validators: Validators,
}

/// What came of asking for a page.
#[derive(Debug)]
pub(crate) enum Got {
    Page(Box<Fetched>),
    /// It is still the one that is known.
    Same,
    /// There is none: the server refuses by a status that means so.
    None(Error),
}

impl Got {
    pub(crate) fn page(self) -> Option<Box<Fetched>> {
        match self {
            Self::Page(fetched) => Some(fetched),
            Self::Same | Self::None(_) => None,
        }
    }
}

/// A page.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) answer: Response,
    pub(crate) records: Records,
    /// Whether it is the page that was asked for, as far as can be told. Of another one there are no
    /// `records`.
    pub(crate) asked: bool,
    /// A hash of the records of a page that doesn't say which page is before it, and so may be the
    /// first, given in the place of this one.
    pub(crate) unnamed: Option<u64>,
    /// The page after it.
    pub(crate) next: Next,
    /// How many records or pages there are, where this answer says so.
    pub(crate) told: Option<u64>,
    /// How many pages that makes.
    pub(crate) pages: Option<u64>,
    /// What tells whether it has changed, next time.
    pub(crate) known: Option<Known>,
}

impl Via<'_> {
    /// Fetches a page of an endpoint.
    pub(crate) async fn fetch(
        &self,
        endpoint: &Endpoint,
        step: &Step,
        asks: Asks<'_>,
    ) -> Result<Got> {
        let asked = Asked::new(endpoint, step, asks.since)?;
        let question = asked.hash(&endpoint.method);
        let known = asks.known.filter(|known| known.asked == question);
        let make = || {
            let request = asked.request(self.client, endpoint);
            match known {
                Some(known) => request.conditional(&known.validators),
                None => request,
            }
        };
        let answer = match self.access.send(endpoint, &make).await {
            Ok(answer) => answer,
            Err(error) => {
                let error = error.with("stream", &endpoint.name);
                return match is_end(endpoint, step, &error) {
                    true => Ok(Got::None(error)),
                    false => Err(way_out(endpoint, step, error)),
                };
            }
        };
        if answer.not_modified() {
            return Ok(Got::Same);
        }
        let page = self.page(endpoint, step, answer, question, asks.told);
        page.map(|page| Got::Page(Box::new(page)))
            .map_err(|error| error.with("stream", &endpoint.name))
    }

    fn page(
        &self,
        endpoint: &Endpoint,
        step: &Step,
        answer: Response,
        asked: u64,
        before: Option<u64>,
    ) -> Result<Fetched> {
        let nothing = |answer| Fetched {
            answer,
            records: Records::none(),
            asked: true,
            unnamed: None,
            next: Next::End,
            told: None,
            pages: None,
            known: None,
        };
        if is_nothing(&answer, &endpoint.records) {
            return Ok(nothing(answer));
        }
        let text = body::text(&answer, &endpoint.records)?;
        let body = body::parse(&answer, &text)?;
        if endpoint.records.optional && body.is_null() {
            return Ok(nothing(answer));
        }
        let mut records = find(&answer, &text, &body, &endpoint.records)?;
        let mut page = Page {
            endpoint,
            access: self.access,
            step,
            answer: &answer,
            body: &body,
            told: None,
        };
        let given = page.given()?;
        // What has no records may be the end whatever it is.
        let unnamed = given == Given::Unnamed && records.count > 0;
        let unnamed = unnamed.then(|| hash(&records.json));
        if given != Given::Asked {
            records = Records::none();
        }
        let told = page.total(&records)?;
        page.told = told;
        page.refuse_size(&records)?;
        page.told = told.or(before);
        let mut next = Next::End;
        if given == Given::Asked {
            next = page.next(&records)?;
        }
        let pages = page.pages();
        let echoes = |text: &Option<String>| {
            let text = text.as_deref();
            text.is_some_and(|text| answer.holds_hidden(text))
        };
        // They are stored; without them, the answer comes whole next time.
        let validators = answer.validators().filter(|validators| {
            let echoes = echoes(&validators.etag) || echoes(&validators.last_modified);
            if echoes && endpoint.conditional {
                tracing::warn!(
                    stream = %endpoint.name,
                    "the server gives back a secret in its `ETag` or `Last-Modified`, which is \
                     therefore not kept: the next run reads everything"
                );
            }
            !echoes
        });
        let known = validators.map(|validators| Known { asked, validators });
        Ok(Fetched {
            records,
            asked: given == Given::Asked,
            unnamed,
            next,
            told,
            pages,
            known: known.filter(|_| endpoint.conditional),
            answer,
        })
    }
}

/// Whether the server says by an error that the page before was the last, or that there is none.
fn is_end(endpoint: &Endpoint, step: &Step, error: &Error) -> bool {
    let may = *step != Step::first(&endpoint.pagination) || endpoint.records.optional;
    // A status may mean something else after all: a quota that is spent.
    let passes = matches!(
        error.kind(),
        ErrorKind::RateLimited { .. } | ErrorKind::Exhausted
    );
    may && !passes && status_of(error).is_some_and(|status| endpoint.ends_at.contains(&status))
}

/// The error, with the key that would make an end of it, where it may be one.
fn way_out(endpoint: &Endpoint, step: &Step, error: Error) -> Error {
    let Some(status) = status_of(&error).map(|status| status.as_u16()) else {
        return error;
    };
    if !matches!(status, 400 | 404 | 410 | 416 | 422) {
        return error;
    }
    let before = error.hint_text().map(|hint| format!("; else {hint}"));
    let before = before.unwrap_or_default();
    if *step != Step::first(&endpoint.pagination) {
        return error.hint(format!(
            "if the server says by {status} that the page before was the last, write `ends_at = \
             [{status}]`{before}"
        ));
    }
    if matches!(status, 404 | 416) && endpoint.incremental.is_some() {
        return error.hint(format!(
            "if the server says by {status} that nothing is new, write `ends_at = [{status}]` and \
             `records_optional = true`{before}"
        ));
    }
    error
}

/// The bound that a run asks an endpoint with, if any.
pub(crate) fn bound(endpoint: &Endpoint, since: Option<&Mark>) -> Option<Value> {
    let incremental = endpoint.incremental.as_ref()?;
    match since {
        Some(mark) => Some(mark.bound(incremental)),
        None => incremental.first(),
    }
}
