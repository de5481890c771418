//! Pages, fetched one by one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::Result;
use tidegate_http::{HttpClient, Response, StatusCode, Validators};

use crate::follow::{Given, Page};
use crate::hash::hash;
use crate::json::Document;
use crate::mark::Mark;
use crate::records::{find, parse};
use crate::step::{Asked, Step};
use crate::{Access, Endpoint, MarkFormat, Pagination, Records};

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
        since: Option<&Value>,
        known: Option<&Known>,
    ) -> Result<Option<Fetched>> {
        let via = Via {
            client: &self.client,
            access: &*self.access,
        };
        via.fetch(endpoint, step, since, known).await
    }
}

/// The same, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Via<'a> {
    pub(crate) client: &'a HttpClient,
    pub(crate) access: &'a dyn Access,
}

/// Validators, and which question's answer they belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) asked: u64,
    pub(crate) validators: Validators,
}

/// A page.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) answer: Response,
    pub(crate) records: Records,
    /// A hash of the records of a page that doesn't say which page is before it, and so may be the
    /// first, given in the place of this one. They are not among `records`.
    pub(crate) unnamed: Option<u64>,
    /// The page after it.
    pub(crate) next: Option<Step>,
    /// How many records or pages there are, where the server says so and pages are counted by it.
    pub(crate) total: Option<u64>,
    /// How many pages that makes.
    pub(crate) pages: Option<u64>,
    /// What tells whether it has changed, next time.
    pub(crate) known: Option<Known>,
}

impl Via<'_> {
    /// Fetches a page of an endpoint; `None` if it is still the one that is `known`.
    pub(crate) async fn fetch(
        &self,
        endpoint: &Endpoint,
        step: &Step,
        since: Option<&Value>,
        known: Option<&Known>,
    ) -> Result<Option<Fetched>> {
        let asked = Asked::new(endpoint, step, since)?;
        let question = asked.hash(&endpoint.method);
        let known = known.filter(|known| known.asked == question);
        let make = || {
            let request = asked.request(self.client, endpoint);
            match known {
                Some(known) => request.conditional(&known.validators),
                None => request,
            }
        };
        let answer = self
            .access
            .send(endpoint, &make)
            .await
            .map_err(|error| error.with("stream", &endpoint.name))?;
        if answer.not_modified() {
            return Ok(None);
        }
        self.page(endpoint, step, answer, question)
            .map(Some)
            .map_err(|error| error.with("stream", &endpoint.name))
    }

    fn page(
        &self,
        endpoint: &Endpoint,
        step: &Step,
        answer: Response,
        asked: u64,
    ) -> Result<Fetched> {
        if answer.status == StatusCode::NO_CONTENT && endpoint.records.optional {
            return Ok(Fetched {
                records: Records::none(),
                unnamed: None,
                next: None,
                total: None,
                pages: None,
                known: None,
                answer,
            });
        }
        let body: Document<'_> = parse(&answer)?;
        let page = Page {
            endpoint,
            access: self.access,
            step,
            answer: &answer,
            body: &body,
        };
        let mut records = find(&answer, &body, &endpoint.records)?;
        let given = page.given()?;
        let unnamed = (given == Given::Unnamed).then(|| hash(&records.json));
        if given != Given::Asked {
            records = Records::none();
        }
        page.refuse_size(&records)?;
        page.refuse_gap(&records, given)?;
        let mut next = None;
        if given == Given::Asked {
            next = page.next(&records)?;
        }
        let total = match &endpoint.pagination {
            Pagination::Page {
                total: Some(total), ..
            } => Some(page.total(total)?),
            _ => None,
        };
        let pages = page.pages()?;
        let validators = answer.validators();
        let known = validators.map(|validators| Known { asked, validators });
        Ok(Fetched {
            records,
            unnamed,
            next,
            total,
            pages,
            known: known.filter(|_| endpoint.conditional),
            answer,
        })
    }
}

/// The bound that a run asks an endpoint with, if any.
pub(crate) fn bound(endpoint: &Endpoint, since: Option<&Mark>) -> Option<Value> {
    let incremental = endpoint.incremental.as_ref()?;
    match since {
        Some(mark) => Some(mark.bound(incremental)),
        None => {
            let start = incremental.start.clone()?;
            let is_number = matches!(
                incremental.format,
                MarkFormat::EpochSeconds | MarkFormat::EpochMillis
            );
            let number = start.parse::<i64>().ok().filter(|_| is_number);
            Some(number.map_or_else(|| start.into(), Value::from))
        }
    }
}
